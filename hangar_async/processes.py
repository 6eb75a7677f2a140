"""Programs that are run to their end, within a time limit and a limit of output."""

from __future__ import annotations

import asyncio
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

#: The most bytes of output that are kept.
LARGEST_OUTPUT = 1 << 20


class _Process(asyncio.SubprocessProtocol):
    """The output of a program, and its end."""

    def __init__(self) -> None:
        self.output = bytearray()
        self.exited = asyncio.Event()
        self.complete = asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        if len(self.output) <= LARGEST_OUTPUT:
            self.output += data

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        # Called after the exit and the end of the output.
        self.complete.set()


async def run_program(
    words: Sequence[str],
    limit: float,
    request: bytes = b"",
    *,
    environ: Mapping[str, str] | None = None,
    with_errors: bool = False,
) -> tuple[int | None, bytes]:
    """Run a program to its end, and return its status and its output, with its errors too where these are asked for.

    It gets the request as its input, and the variables of `environ`, None for those of this process. `limit` is its
    time in seconds: a program that takes longer is killed with its child processes. Raises TimeoutError then, and
    OSError for a program that cannot be run.
    """
    loop = asyncio.get_running_loop()
    errors = STDOUT if with_errors else DEVNULL
    # In its own session, so that it can be killed with its child processes.
    start = loop.subprocess_exec(
        _Process, *words, stdin=PIPE, stdout=PIPE, stderr=errors, env=environ, start_new_session=True
    )
    # In its own task: a cancelled start would kill the program, and leave its child processes.
    starting = asyncio.ensure_future(start)
    try:
        await asyncio.wait([starting])
        transport, process = starting.result()
        stdin = cast("asyncio.WriteTransport", transport.get_pipe_transport(0))
        stdin.write(request)
        stdin.write_eof()
        async with asyncio.timeout(limit):
            await process.complete.wait()
        return transport.get_returncode(), bytes(process.output)
    finally:
        await _end(starting)


async def _end(starting: asyncio.Future[tuple[asyncio.SubprocessTransport, _Process]]) -> None:
    """End a program that was started, and wait for its end."""
    await asyncio.wait([starting])
    if starting.exception() is not None:
        return
    transport, process = starting.result()
    # Only a program that did not end is killed: one that ended may have started a daemon for the next one.
    if not process.complete.is_set():
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(transport.get_pid(), signal.SIGKILL)
    transport.close()
    await process.exited.wait()
