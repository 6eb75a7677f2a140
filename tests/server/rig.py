"""Helpers of this room's tests."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable, Coroutine
from typing import Any

import bcrypt
import uvloop

PASSWORD = b"pass:word"
#: With the marks of htpasswd, of other programs, and of bcrypt itself; the same each time.
SALT = b"$2b$04$abcdefghijklmnopqrstuu"
HASHES = [bcrypt.hashpw(PASSWORD, SALT).replace(b"$2b$", kind) for kind in (b"$2y$", b"$2a$", b"$2b$")]
DATA = bytes(range(256)) * 16_000


async def ask(address: str, data: bytes) -> bytes:
    """Send bytes to HOST:PORT, and read what comes until the connection is closed."""
    reader, writer = await asyncio.open_connection(*address.split(":"))
    try:
        writer.write(data)
        return await reader.read()
    finally:
        writer.close()


LOOPS: dict[str, Callable[[], asyncio.AbstractEventLoop] | None] = {"asyncio": None, "uvloop": uvloop.new_event_loop}


def run(loop: str, main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    with asyncio.Runner(loop_factory=LOOPS[loop]) as runner:
        runner.run(main())


def basic(name: bytes | str, password: bytes | str) -> str:
    """Write the header of a user."""
    joined = b":".join(one.encode() if isinstance(one, str) else one for one in (name, password))
    return f"Basic {base64.b64encode(joined).decode()}"
