"""Bodies of requests: sent piece by piece, none held any longer once it is with the kernel."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from hangar_async.errors import ContentError, NetworkError

#: What is given to the transport at once, in bytes. A plain one copies what the kernel does not take at once, and one
#: with TLS tells only after so many that something was taken.
_PLAIN_SLICE = 256 << 10
_TLS_SLICE = 64 << 10
#: The bytes of a body in pieces of about 0.5 to 1 MiB; each is good until the next one is asked for.
Pieces: TypeAlias = AsyncIterator[bytes | memoryview]


@dataclass(frozen=True, slots=True)
class Stream:
    """A body of `length` bytes that is read while it is sent; `what` names it in errors.

    `open` starts anew, as often as the body has to be sent; whoever sends it closes what `open` returned.
    """

    length: int
    what: str
    open: Callable[[], Pieces] = field(repr=False)


Body: TypeAlias = bytes | Stream


class Sending(aiohttp.Payload):
    """A body on its way to `host`. aiohttp calls it, in a task that it ends with the request.

    When for `patience` seconds nothing more was taken by the other side, or the body cannot be read, `failure` is why;
    aiohttp raises an error of its own then.
    """

    _autoclose = True

    def __init__(self, body: Body, host: str, patience: float) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self._body = body
        self._size = len(body) if isinstance(body, bytes) else body.length
        self._host = host
        self._patience = patience
        self._ended = asyncio.Event()
        self._ended.set()
        self.failure: Exception | None = None

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: a body is bytes."""
        raise TypeError("a body is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        self._ended.clear()
        try:
            await self._send(cast("StreamWriter", writer))
        finally:
            self._ended.set()

    async def settled(self) -> None:
        """Wait until nothing of this is under way any more; the request must have ended, or be ending.

        A cancellation goes on only then: whoever is cancelled may close what the body is read from.
        """
        cancelled: asyncio.CancelledError | None = None
        while not self._ended.is_set():
            try:
                await self._ended.wait()
            except asyncio.CancelledError as error:
                cancelled = error
        if cancelled is not None:
            raise cancelled

    async def _send(self, writer: StreamWriter) -> None:
        _hold_nothing(writer)
        if isinstance(self._body, bytes):
            await self._write(writer, self._body)
            return
        async with AsyncExitStack() as stack:
            pieces = self._body.open()
            if close := getattr(pieces, "aclose", None):
                stack.push_async_callback(close)
            rest = self._size
            # What comes behind the last byte is not asked for: the answer may be here before it is.
            while rest:
                piece = await self._next(pieces, rest)
                rest -= len(piece)
                await self._write(writer, piece)

    async def _next(self, pieces: Pieces, rest: int) -> memoryview:
        # Begun once, it is not for aiohttp to send it on another connection: the server may have taken some of it.
        self._consumed = True
        try:
            piece = memoryview(await anext(pieces, b""))
            if not 0 < len(piece) <= rest:
                what = cast("Stream", self._body).what
                raise ContentError(
                    f"{what} has {'fewer' if len(piece) < rest else 'more'} bytes than the {self._size} to be sent",
                    advice="check where it is read from",
                )
        except Exception as error:
            self.failure = error
            raise
        return piece

    async def _write(self, writer: StreamWriter, piece: bytes | memoryview) -> None:
        view = memoryview(piece)
        step = _TLS_SLICE if _is_tls(writer) else _PLAIN_SLICE
        for start in range(0, len(view), step):
            await writer.write(view[start : start + step], drain=False)
            await self._flushed(writer)

    async def _flushed(self, writer: StreamWriter) -> None:
        """Wait until the transport holds nothing of what was written."""
        transport = writer.transport
        if transport is None or not transport.get_write_buffer_size():
            return
        try:
            async with asyncio.timeout(self._patience) as limit, _Watch(transport, limit, self._patience):
                await writer.drain()
        except TimeoutError:
            self.failure = NetworkError(f"{self._host}: nothing was taken for too long", host=self._host)
            raise


class _Watch:
    """Puts a time limit off as long as a transport gets rid of bytes; awaiting is not interrupted for it.

    aiohttp's drain cannot be cancelled and waited for again.
    """

    def __init__(self, transport: asyncio.Transport, limit: asyncio.Timeout, patience: float) -> None:
        self._transport = transport
        self._limit = limit
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self._left = transport.get_write_buffer_size()

    async def __aenter__(self) -> None:
        self._handle = self._loop.call_later(self._patience / 4, self._look)

    async def __aexit__(self, *error: object) -> None:
        self._handle.cancel()

    def _look(self) -> None:
        left = self._transport.get_write_buffer_size()
        if left < self._left:
            self._left = left
            self._limit.reschedule(self._loop.time() + self._patience)
        self._handle = self._loop.call_later(self._patience / 4, self._look)


def _hold_nothing(writer: StreamWriter) -> None:
    """Have the transport say that it is full as soon as it holds anything, so that a drained one holds no piece."""
    if writer.transport is not None:
        # asyncio's TLS counts an empty buffer as full when the limit is 0.
        writer.transport.set_write_buffer_limits(1 if _is_tls(writer) else 0, 0)


def _is_tls(writer: StreamWriter) -> bool:
    return writer.transport is not None and writer.transport.get_extra_info("sslcontext") is not None


#: Opens content at an offset, in bytes: the pieces from there to its end, of 0.5 to 1 MiB, each good until the next one
#: is asked for. What it returns is closed by `aclose`, where it has that.
Source: TypeAlias = Callable[[int], Pieces]


class SourceReader:
    """Reads a source in stretches, each of which goes on where the last one ended without opening it anew.

    `furthest` is how far it was ever read, in bytes. `what` names the content in errors.
    """

    def __init__(self, source: Source, what: str) -> None:
        self.furthest = 0
        self._source = source
        self._what = what
        self._pieces: Pieces | None = None
        self._rest = memoryview(b"")
        self._offset = 0
        self._reading = False

    def stream(self, start: int, length: int) -> Stream:
        """Return the body of a request that sends `length` bytes from `start` on; one at a time is sent."""
        return Stream(length, self._what, lambda: self._stretch(start, length))

    async def aclose(self) -> None:
        """Close what is open."""
        pieces, self._pieces = self._pieces, None
        self._rest = memoryview(b"")
        if close := getattr(pieces, "aclose", None):
            await close()

    async def _stretch(self, start: int, length: int) -> AsyncIterator[memoryview]:
        # What was interrupted while it read is of no more use.
        if self._pieces is None or self._offset != start or self._reading:
            await self.aclose()
            self._pieces, self._offset, self._reading = self._source(start), start, False
        while length and (piece := await self._take(self._pieces, length)):
            length -= len(piece)
            yield piece

    async def _take(self, pieces: Pieces, most: int) -> memoryview:
        if not self._rest:
            self._reading = True
            self._rest = memoryview(await anext(pieces, b""))
            self._reading = False
        piece, self._rest = self._rest[:most], self._rest[most:]
        self._offset += len(piece)
        self.furthest = max(self.furthest, self._offset)
        return piece
