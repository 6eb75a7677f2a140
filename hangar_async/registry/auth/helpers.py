"""Credential helpers: the programs `docker-credential-NAME` that keep credentials for Docker.

Source: the protocol of docker-credential-helpers: the name of a server or JSON on stdin, JSON or an error on stdout.
"""

import asyncio
import os
import re
import signal
from asyncio.subprocess import DEVNULL, PIPE
from contextlib import suppress
from typing import cast

import msgspec

from hangar_async.errors import HangarError
from hangar_async.oci import decode_json
from hangar_async.registry.auth.docker_config import TOKEN_USER, Credential

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_NOTHING_KNOWN = "credentials not found in native keychain"
_LARGEST = 1 << 20


class _Output(msgspec.Struct):
    Username: str = ""
    Secret: str = ""


async def ask_helper(name: str, server: str, limit: float) -> Credential | None:
    """Ask `docker-credential-NAME` for the credential for a server; None where it knows none.

    After `limit` seconds it is killed. Raises HangarError for a helper that cannot be run, fails or writes nonsense.
    """
    program = program_of(name)
    output = await _call(program, "get", server, server.encode(), limit)
    if output is None:
        return None
    try:
        login = decode_json(output, _Output)
    except ValueError:
        raise HangarError(f"the credential helper {program} gave no credential for {server} that can be read") from None
    if not login.Secret:
        return None
    if login.Username == TOKEN_USER:
        return Credential(program, identity_token=login.Secret)
    return Credential(program, login.Username, login.Secret)


async def store_in_helper(name: str, server: str, username: str, secret: str, limit: float) -> None:
    """Have `docker-credential-NAME` keep a user name and password for a server; see ask_helper."""
    login = msgspec.json.encode({"ServerURL": server, "Username": username, "Secret": secret})
    await _call(program_of(name), "store", server, login, limit, secret)


async def erase_from_helper(name: str, server: str, limit: float) -> None:
    """Have `docker-credential-NAME` forget a server, which it may not know; see ask_helper."""
    await _call(program_of(name), "erase", server, server.encode(), limit)


def program_of(name: str) -> str:
    """Return the program of a helper; raises HangarError for a wrong name."""
    program = f"docker-credential-{name}"
    if not _NAME.fullmatch(name):
        raise HangarError(f"{program[:80]!r} is no name of a credential helper")
    return program


async def _call(program: str, action: str, server: str, request: bytes, limit: float, secret: str = "") -> bytes | None:
    """Run an action of a helper, and return its output; None where it does not know the server."""
    status, output = await _run(program, action, request, limit)
    if status == 0:
        return output
    message = output.decode(errors="replace").strip()
    if message.startswith(_NOTHING_KNOWN):
        return None
    # Errors come on stdout too; one that may contain a secret is not repeated.
    silent = "{" in message or not message.isprintable() or (secret and secret in message)
    raise HangarError(
        f"the credential helper {program} failed for {server}{'' if silent or not message else f': {message[:200]}'}"
    )


class _Process(asyncio.SubprocessProtocol):
    """The output of a helper, and its end."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.exited = asyncio.Event()
        self.complete = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if len(self.output) <= _LARGEST:
            self.output += data

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Called after the exit and the end of the output.
        self.complete.set()


async def _run(program: str, action: str, request: bytes, limit: float) -> tuple[int | None, bytes]:
    """Run a helper to its end, in its own session, so that it can be killed with its child processes."""
    loop = asyncio.get_running_loop()
    try:
        transport, process = await loop.subprocess_exec(
            _Process, program, action, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, start_new_session=True
        )
    except OSError as error:
        raise HangarError(f"the credential helper {program} cannot be run: {error.strerror}") from error
    try:
        stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        stdin.write(request + b"\n")
        stdin.write_eof()
        async with asyncio.timeout(limit):
            await process.complete.wait()
        return transport.get_returncode(), bytes(process.output)
    except TimeoutError:
        raise HangarError(f"the credential helper {program} did not answer within {limit:g} seconds") from None
    finally:
        # Only a helper that did not end is killed: one that ended may have started a daemon for the next one.
        if not process.complete.is_set():
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(transport.get_pid(), signal.SIGKILL)
        transport.close()
        await process.exited.wait()
