"""The bodies of responses: the bytes of blobs as they arrive, in pieces of up to 512 KiB; the last may be small.

A piece is valid until the next one is read. When a body breaks, all bytes so far come first; then the error is raised.
A cancelled read loses nothing.
"""

import asyncio
import time
from contextlib import suppress
from typing import Self, TypeAlias, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

from hangar_async.buffers import SIZES, PieceBuffers
from hangar_async.oci import Piece
from hangar_async.registry.http.limits import Transfer

#: The least bytes of a piece of a stream where more follow, and the most.
SMALLEST_PIECE = 256 << 10
LARGEST_PIECE = SIZES[0]
#: A body with fewer bytes left is not worth a buffer.
_LEAST = LARGEST_PIECE


class StreamBody:
    """A body from the stream of aiohttp, which keeps at most 512 KiB beside the current piece."""

    def __init__(self, content: aiohttp.StreamReader, transfer: Transfer, head: bytes = b"") -> None:
        self._content = content
        self._transfer = transfer
        self._reads = [head] if head else []
        self._size = len(head)
        self._ended = False
        self._failure: Exception | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        # Earlier reads stay here when a read is cancelled.
        while not self._ended and self._size < SMALLEST_PIECE:
            await self._read()
        if self._reads:
            return self._take()
        raise self._failure or StopAsyncIteration

    def close(self) -> None:
        """End the transfer; the stream ends with the response."""
        self._transfer.end()

    async def _read(self) -> None:
        """Read the next bytes of the stream; note the end of the body, or its error."""
        began = time.monotonic()
        # Extensions of chunks are no bytes of the body, but for aiohttp something has arrived.
        limit = asyncio.timeout(self._transfer.left)
        try:
            async with limit:
                data = await self._content.readany()
            self._ended = not data
        except Exception as error:
            data = b""
            if not limit.expired():
                data = self._rescue()
                self._ended, self._failure = True, error
        if data:
            self._reads.append(data)
            self._size += len(data)
        self._transfer.note(time.monotonic() - began, len(data))
        if self._transfer.failure is not None and not self._ended:
            self._ended, self._failure = True, self._transfer.failure

    def _take(self) -> bytes:
        """Return all reads as one piece, but for the last one where that would be too large."""
        rest = [self._reads.pop()] if len(self._reads) > 1 and self._size > LARGEST_PIECE else []
        piece = self._reads[0] if len(self._reads) == 1 else b"".join(self._reads)
        self._reads = rest
        self._size = len(rest[0]) if rest else 0
        return piece

    def _rescue(self) -> bytes:
        """Return the bytes that arrived before the stream broke.

        After a failure aiohttp keeps them but returns nothing more; a blob that continues at the last byte must not
        lose up to 512 KiB each time.
        """
        # Another version of aiohttp may not allow it: then only these bytes are lost.
        with suppress(Exception):
            self._content.set_exception(None)  # type: ignore[arg-type]
            return self._content.read_nowait()
        return b""


class BufferedBody(asyncio.BufferedProtocol):
    """A body of `rest` more bytes, received into one buffer while the reader has the other one, half full at least.

    A full buffer makes the sender wait. `head`, less than 512 KiB, arrived before. Raises the error of the connection,
    aiohttp.SocketTimeoutError when no byte came for `patience` seconds, and NetworkError when the `transfer` is too
    slow. It takes the transport from aiohttp, and `close` gives it back.
    """

    def __init__(
        self,
        response: aiohttp.ClientResponse,
        head: bytes,
        rest: int,
        patience: float,
        buffers: PieceBuffers,
        transfer: Transfer,
    ) -> None:
        connection = response.connection
        assert connection is not None  # noqa: S101 - open_body checks it
        self._content = response.content
        self._http = cast("ResponseHandler", connection.protocol)
        self._transport = cast("asyncio.Transport", connection.transport)
        self._loop = asyncio.get_running_loop()
        self._rest = self._noted = rest
        self._transfer = transfer
        self._patience = patience
        self._buffers = buffers
        #: The two buffers, which `close` gives back.
        self._lent = [buffers.take(), buffers.take()]
        self._filling, self._reading = (memoryview(buffer) for buffer in self._lent)
        #: Where it is larger than a buffer, it is a piece of its own.
        self._head = head if len(head) >= len(self._filling) else b""
        self._filled = 0 if self._head else len(head)
        self._filling[: self._filled] = b"" if self._head else head
        self._paused = False
        self._last = self._loop.time()
        self._waiter: asyncio.Future[None] | None = None
        self._lost = False
        self._failure: Exception | None = None
        # The pause ends the time limit of aiohttp.
        self._http.pause_reading()
        # A late reader of the stream of an earlier response makes the protocol continue: it must reach neither the
        # transport nor a clock.
        self._http.transport, self._http.read_timeout = None, None
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        if self._head:
            head, self._head = self._head, b""
            return head
        while self._filled < len(self._filling) // 2 and self._rest and not self._ended:
            await self._wait()
        if not self._filled:
            raise self._failure or StopAsyncIteration
        piece = self._filling[: self._filled]
        self._filling, self._reading, self._filled = self._reading, self._filling, 0
        if self._paused and self._rest and not self._ended:
            self._paused = False
            # The time of the reader does not count.
            self._last = self._loop.time()
            self._transport.resume_reading()
        return piece

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return the memory for the next bytes."""
        return self._filling[self._filled : self._filled + self._rest]

    def buffer_updated(self, nbytes: int) -> None:
        """Note the next bytes."""
        self._filled += nbytes
        self._rest -= nbytes
        self._last = self._loop.time()
        if not self._rest or self._filled == len(self._filling):
            self._paused = True
            self._transport.pause_reading()
        if self._filled >= len(self._filling) // 2 or not self._rest:
            self._wake()

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end of the connection."""
        self._lost, self._failure = True, exc
        self._http.transport = self._transport
        self._http.connection_lost(exc)
        self._wake()

    def close(self) -> None:
        """Give the transport back, for the next request if the body is complete, and the buffers, for other bodies."""
        if not self._lent:
            return
        self._transfer.end()
        if not self._lost:
            # After an incomplete body the connection cannot be used again: the end of the response closes it.
            if not self._transport.is_closing():
                self._transport.pause_reading()
            self._http.transport = self._transport
            self._transport.set_protocol(self._http)
            if not self._rest:
                self._content.feed_eof()
        while self._lent:
            self._buffers.give(self._lent.pop())

    @property
    def _ended(self) -> bool:
        return self._lost or self._failure is not None

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        began = self._loop.time()
        try:
            async with asyncio.timeout_at(min(self._last + self._patience, began + self._transfer.left)):
                await self._waiter
        except TimeoutError:
            if self._loop.time() - self._last >= self._patience:
                self._failure = aiohttp.SocketTimeoutError("nothing arrived")
        finally:
            self._waiter = None
        self._transfer.note(self._loop.time() - began, self._noted - self._rest)
        self._noted = self._rest
        if self._rest:
            self._failure = self._failure or self._transfer.failure

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


ResponseBody: TypeAlias = StreamBody | BufferedBody


def open_body(
    response: aiohttp.ClientResponse, patience: float, buffers: PieceBuffers | None, transfer: Transfer
) -> ResponseBody:
    """Open a body: a BufferedBody where there are `buffers` and the connection can be taken over, else a StreamBody.

    Its `close` ends the transfer.
    """
    content, length = response.content, response.content_length
    if buffers is None or length is None or length < _LEAST or content.exception() is not None:
        return StreamBody(content, transfer)
    # Reading from a paused stream makes it continue, so the bytes in its parser come too.
    head = b"".join(iter(content.read_nowait, b""))
    connection = response.connection
    if connection is None or connection.transport is None or content.is_eof() or length - len(head) < _LEAST:
        return StreamBody(content, transfer, head)
    if "Transfer-Encoding" in response.headers or len(head) >= LARGEST_PIECE:
        return StreamBody(content, transfer, head)
    return BufferedBody(response, head, length - len(head), patience, buffers, transfer)
