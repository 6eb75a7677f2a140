"""Credential helpers: the programs `docker-credential-NAME` that keep credentials for Docker.

Source: the protocol of docker-credential-helpers: a server's name or JSON on stdin, JSON or a word of error on stdout.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from typing import cast

import msgspec

from hangar_async.errors import HangarError
from hangar_async.oci.strict_json import decode
from hangar_async.registry.auth.docker_config import Credential

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
    program = program_of(name)
    answer = await _talk(program, "get", server, server.encode(), limit)
    if answer is None:
        return None
    try:
        known = decode(answer, _Answer)
    except ValueError:
        raise HangarError(f"the credential helper {program} gave no credential for {server} that can be read") from None
    if not known.Secret:
        return None
    if known.Username == _TOKEN_USER:
        return Credential(program, identity_token=known.Secret)
    return Credential(program, known.Username, known.Secret)


async def tell_helper(name: str, server: str, username: str, secret: str, limit: float) -> None:
    """Have `docker-credential-NAME` keep a user name and password for a server; see ask_helper."""
    told = msgspec.json.encode({"ServerURL": server, "Username": username, "Secret": secret})
    await _talk(program_of(name), "store", server, told, limit, secret)


async def erase_from_helper(name: str, server: str, limit: float) -> None:
    """Have `docker-credential-NAME` forget a server, which it may not know; see ask_helper."""
    await _talk(program_of(name), "erase", server, server.encode(), limit)


def program_of(name: str) -> str:
    """The program of a helper; raises HangarError for what is no name of one."""
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise HangarError(f"{program[:80]!r} is no name of a credential helper")
    return program


async def _talk(program: str, action: str, server: str, told: bytes, limit: float, secret: str = "") -> bytes | None:
    """Have a helper do something, and return what it answers; None where it does not know the server."""
    status, answer = await _run(program, action, told, limit)
    if status == 0:
        return answer
    said = answer.decode(errors="replace").strip()
    if said.startswith(_NOTHING_KNOWN):
        return None
    # Errors come on stdout too; what may hold a secret is not repeated.
    silent = "{" in said or not said.isprintable() or (secret and secret in said)
    raise HangarError(
        f"the credential helper {program} failed for {server}{'' if silent or not said else f': {said[:200]}'}"
    )


class _Conversation(asyncio.SubprocessProtocol):
    """What a helper says, and that it has ended."""

    def __init__(self) -> None:
        self.answer = bytearray()
        self.exited = asyncio.Event()
        self.complete = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if len(self.answer) <= _LARGEST:
            self.answer += data

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Called when it has exited and its output is read to the end.
        self.complete.set()


async def _run(program: str, action: str, told: bytes, limit: float) -> tuple[int | None, bytes]:
    """Run a helper to its end, in a session of its own, so that it can be killed with all that it started."""
    loop = asyncio.get_running_loop()
    try:
        transport, talk = await loop.subprocess_exec(
            _Conversation, program, action, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise HangarError(f"the credential helper {program} cannot be run: {error.strerror}") from error
    try:
        asked = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        asked.write(told + b"\n")
        asked.write_eof()
        async with asyncio.timeout(limit):
            await talk.complete.wait()
        return transport.get_returncode(), bytes(talk.answer)
    except TimeoutError:
        raise HangarError(f"the credential helper {program} did not answer within {limit:g} seconds") from None
    finally:
        # One that has ended may have left a daemon for the next one; only what did not end is killed.
        if not talk.complete.is_set():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
        transport.close()
        await talk.exited.wait()
