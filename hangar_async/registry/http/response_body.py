"""Bodies of blobs: what arrives, piece by piece."""

from __future__ import annotations

import asyncio
from typing import Protocol, cast

import aiohttp
from aiohttp.client_proto import ResponseHandler

#: A piece holds at least so many bytes where more follow, and at most so many.
SMALLEST_PIECE = 256 << 10
LARGEST_PIECE = 512 << 10


class Feed(Protocol):
    """The bytes of a body as they arrive."""

    async def next(self) -> bytes | memoryview:
        """Return what comes next, 256 to 512 KiB where more follows; nothing at the end.

        It is good until the next call. When the body breaks, all that had arrived is returned first; then what broke
        it is raised. A call that is cancelled loses nothing.
        """
        ...

    def close(self) -> None:
        """Let go of the connection; may be called again."""
        ...


class StreamFeed:
    """A body as aiohttp's stream has it, of any encoding; at most 512 KiB lie there beside the piece handed out."""

    def __init__(self, content: aiohttp.StreamReader, head: bytes = b"") -> None:
        self._content = content
        self._held = [head] if head else []
        self._size = len(head)
        self._ended = False
        self._failure: Exception | None = None

    async def next(self) -> bytes:
        """Return what comes next; see Feed."""
        # What is held stays held when we are cancelled while reading.
        while not self._ended and self._size < SMALLEST_PIECE:
            await self._read()
        if not self._held and self._failure is not None:
            raise self._failure
        return self._take()

    def close(self) -> None:
        """Nothing is to be let go of."""

    async def _read(self) -> None:
        """Take in what the stream has, waiting where it has nothing; note how the body ends."""
        try:
            data = await self._content.readany()
            self._ended = not data
        except Exception as error:
            data = self._rescue()
            self._ended, self._failure = True, error
        if data:
            self._held.append(data)
            self._size += len(data)

    def _take(self) -> bytes:
        """Hand out what is held, but for the last read where it would be too much."""
        spare = [self._held.pop()] if len(self._held) > 1 and self._size > LARGEST_PIECE else []
        piece = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held = spare
        self._size = len(spare[0]) if spare else 0
        return piece

    def _rescue(self) -> bytes:
        """Get what had arrived before the stream broke.

        After a failure aiohttp hands out nothing more, though it still holds it; a blob that is to go on from the
        byte reached must not lose up to 512 KiB each time.
        """
        self._content.set_exception(None)  # type: ignore[arg-type]
        return self._content.read_nowait()


#: A body of which less is to come is not worth it, in bytes.
_LEAST = LARGEST_PIECE


class Buffers:
    """Pairs of buffers of 512 KiB, used again and again: as many as there ever were bodies at once."""

    def __init__(self) -> None:
        self._free: list[tuple[bytearray, bytearray]] = []

    def take(self) -> tuple[bytearray, bytearray]:
        """Return a pair that nobody uses."""
        return self._free.pop() if self._free else (bytearray(LARGEST_PIECE), bytearray(LARGEST_PIECE))

    def give(self, pair: tuple[bytearray, bytearray]) -> None:
        """Give a pair back."""
        self._free.append(pair)


class Intake(asyncio.BufferedProtocol):
    """Receives `rest` bytes into one buffer while whoever reads has the other; full buffers make the sender wait.

    `head`, less than a buffer, is what had come before. Raises what broke the connection, and
    aiohttp.SocketTimeoutError when for `patience` seconds nothing came.
    """

    def __init__(
        self, response: aiohttp.ClientResponse, head: bytes, rest: int, patience: float, buffers: Buffers
    ) -> None:
        connection = response.connection
        assert connection is not None  # noqa: S101 - feed_of has seen to it
        self._content = response.content
        self._http = cast("ResponseHandler", connection.protocol)
        self._transport = cast("asyncio.Transport", connection.transport)
        self._loop = asyncio.get_running_loop()
        self._rest = rest
        self._patience = patience
        self._buffers = buffers
        self._pair: tuple[bytearray, bytearray] | None = buffers.take()
        self._filling, self._lent = memoryview(self._pair[0]), memoryview(self._pair[1])
        self._fill = len(head)
        self._filling[: len(head)] = head
        self._paused = False
        self._last = self._loop.time()
        self._waiter: asyncio.Future[None] | None = None
        self._lost = False
        self._failure: Exception | None = None
        # aiohttp's own time limit ends with the pause.
        self._http.pause_reading()
        # Whoever reads late what an earlier answer left in its stream makes the protocol go on reading: it must reach
        # neither the transport nor a clock.
        self._http.transport, self._http.read_timeout = None, None
        self._transport.set_protocol(self)
        self._transport.resume_reading()

    def get_buffer(self, sizehint: int) -> memoryview:
        """Say where to put what comes next."""
        return self._filling[self._fill : self._fill + self._rest]

    def buffer_updated(self, nbytes: int) -> None:
        """Note that more has come."""
        self._fill += nbytes
        self._rest -= nbytes
        self._last = self._loop.time()
        if not self._rest or self._fill == LARGEST_PIECE:
            self._paused = True
            self._transport.pause_reading()
        if self._fill >= SMALLEST_PIECE or not self._rest:
            self._wake()

    def eof_received(self) -> bool:
        """Let the transport close itself."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """Note that nothing more will come."""
        self._lost, self._failure = True, exc
        self._http.transport = self._transport
        self._http.connection_lost(exc)
        self._wake()

    async def next(self) -> bytes | memoryview:
        """Return what comes next; see Feed."""
        while self._fill < SMALLEST_PIECE and self._rest and not self._ended:
            await self._wait()
        if not self._fill:
            if self._failure is not None:
                raise self._failure
            return b""
        piece = self._filling[: self._fill]
        self._filling, self._lent, self._fill = self._lent, self._filling, 0
        if self._paused and self._rest and not self._ended:
            self._paused = False
            # The time that we took does not count.
            self._last = self._loop.time()
            self._transport.resume_reading()
        return piece

    def close(self) -> None:
        """Give the transport back, for the next request if the body is whole; the buffers are used by others then."""
        if self._pair is None:
            return
        if not self._lost:
            # A body that is left before its end: whoever closes the answer finds it so, and ends the connection.
            if not self._transport.is_closing():
                self._transport.pause_reading()
            self._http.transport = self._transport
            self._transport.set_protocol(self._http)
            if not self._rest:
                self._content.feed_eof()
        self._buffers.give(self._pair)
        self._pair = None

    @property
    def _ended(self) -> bool:
        return self._lost or self._failure is not None

    async def _wait(self) -> None:
        self._waiter = self._loop.create_future()
        try:
            async with asyncio.timeout_at(self._last + self._patience):
                await self._waiter
        except TimeoutError:
            if self._loop.time() - self._last >= self._patience:
                self._failure = aiohttp.SocketTimeoutError("nothing arrived")
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def feed_of(response: aiohttp.ClientResponse, patience: float, buffers: Buffers | None) -> Feed:
    """Choose how a body is received; without `buffers`, and where taking it over cannot be, as aiohttp has it."""
    content, length = response.content, response.content_length
    if buffers is None or length is None or length < _LEAST or content.exception() is not None:
        return StreamFeed(content)
    # Reading from a stream that is paused makes it go on, so what its parser still holds comes too.
    head = b"".join(iter(content.read_nowait, b""))
    connection = response.connection
    if connection is None or connection.transport is None or content.is_eof() or length - len(head) < _LEAST:
        return StreamFeed(content, head)
    if "Transfer-Encoding" in response.headers or len(head) >= LARGEST_PIECE:
        return StreamFeed(content, head)
    return Intake(response, head, length - len(head), patience, buffers)
