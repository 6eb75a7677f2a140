"""A self-test of aiohttp: whether it is the one that bodies can be taken over from.

`BufferedBody` and `RequestBody` depend on more of aiohttp than it documents. They are tried here on a connection
without a network, once in a process.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler
from aiohttp.connector import Connection
from aiohttp.http import StreamWriter

from hangar_async.buffers import PieceBuffers
from hangar_async.registry.http.body import BufferedBody
from hangar_async.registry.http.limits import Speeds
from hangar_async.registry.http.request_body import RequestBody

_NOTICE = (
    "aiohttp {version} does not allow bodies to be taken over: they are received and sent by its own streams, which is "
    "slower"
)
#: Headers of a response with a body of 6 bytes.
_HEADERS = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n"
_PROPERTIES = (
    (ResponseHandler, "read_timeout"),
    (aiohttp.ClientResponse, "connection"),
    (Connection, "protocol"),
    (Connection, "transport"),
)
#: The result after the first test.
_results: list[bool] = []


async def aiohttp_is_known(notice: Callable[[str], None] | None = None) -> bool:
    """Tell whether bodies can be taken over; the first time that they cannot, `notice` is called."""
    if not _results:
        _results.append(await _passes())
        if not _results[0] and notice is not None:
            notice(_NOTICE.format(version=aiohttp.__version__))
    return _results[0]


async def _passes() -> bool:
    # Another version of aiohttp may raise anything.
    with suppress(Exception):
        buffers = PieceBuffers()
        return await _receives(buffers) and await _loses(buffers) and await _sends()
    return False


async def _receives(buffers: PieceBuffers) -> bool:
    """Take over a body that is half received, receive the rest, and give the connection back for a second one."""
    line = _FakeTransport()
    body = await line.body(buffers)
    detached = line.http.transport is None and line.protocol is body
    body.get_buffer(-1)[:3] = b"def"
    body.buffer_updated(3)
    pieces = [bytes(piece) async for piece in body]
    body.close()
    returned = cast("object", line.http.transport) is line and line.protocol is line.http and not line.http.should_close
    second = await line.stream()
    fresh = second.read_nowait() == b"abc" and not second.is_eof() and second.exception() is None
    return detached and pieces == [b"abcdef"] and returned and fresh


async def _loses(buffers: PieceBuffers) -> bool:
    """Take over a body, and lose the connection."""
    line = _FakeTransport()
    body = await line.body(buffers)
    body.connection_lost(OSError())
    body.close()
    return line.http.should_close and line.http.transport is None


async def _sends() -> bool:
    """Send a body, which is written at once, and wait for it."""
    line = _FakeTransport()
    body, writer = (
        RequestBody(b"abcdef", "", 60.0, speeds=Speeds(0, 60.0)),
        StreamWriter(line.http, asyncio.get_running_loop()),
    )
    await body.write(writer)
    line.http.pause_writing()
    drain = asyncio.ensure_future(writer.drain())
    await asyncio.sleep(0)
    waits = not drain.done()
    line.http.resume_writing()
    await drain
    return waits and line.written == [b"abcdef"] and cast("object", writer.transport) is line and not body.consumed


class _FakeTransport:
    """A transport without a network, with the protocol of aiohttp; most calls do nothing."""

    def __init__(self) -> None:
        self.http = ResponseHandler(asyncio.get_running_loop())
        self.protocol: asyncio.BaseProtocol = self.http
        self.written: list[bytes] = []
        self.http.connection_made(cast("asyncio.Transport", self))

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *arguments: None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self.protocol = protocol

    def get_write_buffer_size(self) -> int:
        return 1

    def write(self, data: Any) -> None:
        self.written.append(bytes(data))

    async def stream(self) -> aiohttp.StreamReader:
        """Receive the headers and half of the body of a response."""
        self.http.set_response_params()
        self.http.data_received(_HEADERS + b"abc")
        return (await self.http.read())[1]

    async def body(self, buffers: PieceBuffers) -> BufferedBody:
        """Receive the same, and take over the body."""
        for owner, name in _PROPERTIES:
            if not isinstance(getattr(owner, name), property):
                raise TypeError
        content = await self.stream()
        connection = SimpleNamespace(protocol=self.http, transport=self)
        response = cast("aiohttp.ClientResponse", SimpleNamespace(connection=connection, content=content))
        return BufferedBody(response, content.read_nowait(), 3, 60.0, buffers, Speeds(0, 60.0).begin(""))
