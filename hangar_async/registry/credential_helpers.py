"""Credential helpers: the programs `docker-credential-NAME` that keep credentials for Docker.

Source: the protocol of docker-credential-helpers: the server's name on stdin, JSON or a word of error on stdout.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress

import msgspec

from hangar_async.errors import HangarError
from hangar_async.registry.credential_files import Credential

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOTHING_KNOWN = "credentials not found in native keychain"
_LARGEST = 1 << 20
#: The user name that says that the secret is an identity token.
_TOKEN_USER = "<token>"  # noqa: S105


class _Answer(msgspec.Struct):
    Username: str = ""
    Secret: str = ""


async def ask_helper(name: str, server: str, limit: float) -> Credential | None:
    """Ask `docker-credential-NAME` what it knows about a server; None where it knows nothing.

    After `limit` seconds it is killed. Raises HangarError for a helper that cannot be run, fails or says nonsense.
    """
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise HangarError(f"{program[:80]!r} is no name of a credential helper")
    status, answer = await _run(program, server, limit)
    if status != 0:
        said = answer.decode(errors="replace").strip()
        if said.startswith(_NOTHING_KNOWN):
            return None
        # Errors come on stdout too; what could be JSON may hold a secret and is not repeated.
        why = "" if "{" in said or not said.isprintable() else f": {said[:200]}"
        raise HangarError(f"the credential helper {program} failed for {server}{why}")
    try:
        known = msgspec.json.decode(answer, type=_Answer)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise HangarError(f"the credential helper {program} gave no credential for {server} that can be read") from None
    if not known.Secret:
        return None
    if known.Username == _TOKEN_USER:
        return Credential(program, identity_token=known.Secret)
    return Credential(program, known.Username, known.Secret)


async def _run(program: str, server: str, limit: float) -> tuple[int, bytes]:
    """Run a helper to its end, in a process group of its own so that nothing of it outlives us."""
    try:
        process = await asyncio.create_subprocess_exec(
            program, "get", stdin=PIPE, stdout=PIPE, stderr=DEVNULL, process_group=0
        )
    except OSError as error:
        raise HangarError(f"the credential helper {program} cannot be run: {error.strerror}") from error
    try:
        async with asyncio.timeout(limit):
            answer = await _talk(process, server)
            return await process.wait(), answer
    except BaseException as error:
        # A helper that has ended may have left a daemon for the next one; only what did not end is killed.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        if isinstance(error, TimeoutError):
            raise HangarError(f"the credential helper {program} did not answer within {limit:g} seconds") from None
        raise


async def _talk(process: Process, server: str) -> bytes:
    assert process.stdin is not None  # noqa: S101 - both are pipes
    assert process.stdout is not None  # noqa: S101
    with suppress(ConnectionError):  # a helper need not read what it is asked
        process.stdin.write(server.encode() + b"\n")
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
    answer = bytearray()
    while len(answer) < _LARGEST and (data := await process.stdout.read(_LARGEST)):
        answer += data
    return bytes(answer)
