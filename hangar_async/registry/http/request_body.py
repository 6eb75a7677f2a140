"""Bodies of requests: sent piece by piece; a piece is released when the kernel has it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import TypeAlias, cast

import aiohttp
from aiohttp.abc import AbstractStreamWriter
from aiohttp.http import StreamWriter

from hangar_async.errors import ContentError, NetworkError, RegistryError, SourceError
from hangar_async.oci import AsyncPieces, OpenPieces, Piece
from hangar_async.registry.http.limits import Speeds, Transfer

#: The bytes that are written to the transport at once. A plain one copies the bytes that the kernel does not take at
#: once, and one with TLS shows its progress only after so many.
_PLAIN_SLICE = 256 << 10
_TLS_SLICE = 64 << 10


@dataclass(frozen=True, slots=True)
class StreamedBody:
    """A body of `length` bytes that is read while it is sent; `name` names it in errors.

    `open` opens it from its first byte, each time that the body is sent; the sender closes the pieces.
    """

    length: int
    name: str
    open: Callable[[], AsyncPieces] = field(repr=False)


Body: TypeAlias = bytes | StreamedBody


class RequestBody(aiohttp.Payload):
    """A body that is sent to `host`. aiohttp calls it, in a task that it ends with the request.

    When the host takes no byte for `patience` seconds, or the body cannot be read, `failure` is the reason; aiohttp
    raises an error of its own then. `plain` uses only the public interface of aiohttp, with a copy of each slice.
    `sent` is called after the last byte. `speeds` has the least speed.
    """

    _autoclose = True

    def __init__(
        self,
        body: Body,
        host: str,
        patience: float,
        *,
        speeds: Speeds,
        plain: bool = False,
        sent: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(None, content_type="application/octet-stream")
        self._sent = sent
        self._speeds = speeds
        self._body = body
        self._host = host
        self._patience = patience
        self._plain = plain
        self._begun = False
        self._ended = asyncio.Event()
        self._ended.set()
        self.failure: Exception | None = None

    @property
    def size(self) -> int:
        """The size in bytes."""
        return len(self._body) if isinstance(self._body, bytes) else self._body.length

    @property
    def consumed(self) -> bool:
        """True after the start: aiohttp must not send it on another connection then, the server may have a part."""
        return self._begun

    def decode(self, encoding: str = "utf-8", errors: str = "strict") -> str:
        """Refuse: a body is bytes."""
        raise TypeError("a body is not text")

    async def write(self, writer: AbstractStreamWriter) -> None:
        """Send the body."""
        self._ended.clear()
        self._transfer = self._speeds.begin(self._host)
        try:
            await self._send(cast("StreamWriter", writer))
            self._sent()
        finally:
            self._transfer.end()
            self._ended.set()

    async def settled(self) -> None:
        """Wait for the end of the sending; the request must have ended, or be ending.

        A cancellation waits too: the cancelled task may close the source of the body.
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
        if not self._plain:
            _disable_buffering(writer)
        if isinstance(self._body, bytes):
            await self._write(writer, self._body)
            return
        pieces, rest = self._body.open(), self._body.length
        try:
            # Nothing is read after the last byte: the response may be here before it is.
            while rest:
                piece = await self._next(pieces, rest, self._body.name)
                rest -= len(piece)
                await self._write(writer, piece)
        finally:
            await close_pieces(pieces)

    async def _next(self, pieces: AsyncPieces, rest: int, name: str) -> Piece:
        self._begun = True
        try:
            piece = await anext(pieces, b"")
            if not 0 < len(piece) <= rest:
                count = "fewer" if len(piece) < rest else "more"
                message = f"{name} has {count} bytes than the {self.size} to be sent"
                raise ContentError(message, advice="check where it is read from")
        except Exception as error:
            self.failure = error
            raise
        return piece

    async def _write(self, writer: StreamWriter, piece: Piece) -> None:
        view = memoryview(piece)
        step = _TLS_SLICE if self._plain or _is_tls(writer) else _PLAIN_SLICE
        for start in range(0, len(view), step):
            part = view[start : start + step]
            try:
                if self._plain:
                    async with asyncio.timeout(self._patience):
                        await writer.write(bytes(part))
                else:
                    await writer.write(part, drain=False)
                    await self._flush(writer)
            except TimeoutError:
                stalled = NetworkError(f"{self._host}: nothing was taken for too long", host=self._host)
                self.failure = self._transfer.failure or stalled
                raise

    async def _flush(self, writer: StreamWriter) -> None:
        """Wait until the buffer of the transport is empty."""
        transport = writer.transport
        if transport is not None and transport.get_write_buffer_size():
            async with asyncio.timeout(self._patience) as limit:
                async with _Extension(transport, limit, self._patience, self._transfer):
                    await writer.drain()
            if self._transfer.failure is not None:
                raise TimeoutError


class _Extension:
    """Extends a time limit as long as a transport sends bytes, without an interruption of the waiting.

    The `drain` of aiohttp cannot be cancelled and awaited again. A transfer that is too slow ends the limit at once.
    """

    def __init__(
        self, transport: asyncio.Transport, limit: asyncio.Timeout, patience: float, transfer: Transfer
    ) -> None:
        self._transport = transport
        self._limit = limit
        self._patience = patience
        self._transfer = transfer
        self._loop = asyncio.get_running_loop()
        self._left = transport.get_write_buffer_size()
        self._noted_at = self._loop.time()

    async def __aenter__(self) -> None:
        self._handle = self._loop.call_later(self._patience / 4, self._check)

    async def __aexit__(self, *error: object) -> None:
        self._handle.cancel()
        self._note()

    def _check(self) -> None:
        if self._note():
            self._limit.reschedule(self._loop.time() + self._patience)
        if self._transfer.failure is not None:
            self._limit.reschedule(self._loop.time())
        self._handle = self._loop.call_later(self._patience / 4, self._check)

    def _note(self) -> int:
        """Note the time and the bytes that were taken since the last time; return the number of bytes."""
        now, left = self._loop.time(), self._transport.get_write_buffer_size()
        count = max(0, self._left - left)
        self._transfer.note(now - self._noted_at, count)
        self._noted_at, self._left = now, min(left, self._left)
        return count


def _disable_buffering(writer: StreamWriter) -> None:
    """Make the transport full with its first byte, so that a drained one keeps no piece."""
    if writer.transport is not None:
        # asyncio's TLS counts an empty buffer as full when the limit is 0.
        writer.transport.set_write_buffer_limits(1 if _is_tls(writer) else 0, 0)


def _is_tls(writer: StreamWriter) -> bool:
    return writer.transport is not None and writer.transport.get_extra_info("sslcontext") is not None


async def close_pieces(pieces: AsyncPieces | None) -> None:
    """Close pieces that have an `aclose`."""
    if close := getattr(pieces, "aclose", None):
        await close()


class SourceBlob:
    """Reads a blob of a source in ranges; a range after the last one continues without opening the source again.

    `open_pieces` opens it at a byte. `offset` is the one that was read up to, `furthest` the highest one. `name` names
    it in errors. A failure of a registry that it is read from is raised as a SourceError.
    """

    def __init__(self, open_pieces: OpenPieces, name: str) -> None:
        self.offset = self.furthest = 0
        self._open_pieces = open_pieces
        self._name = name
        self._pieces: AsyncPieces | None = None
        self._rest = memoryview(b"")
        self._reading = False

    def body(self, start: int, length: int) -> StreamedBody:
        """Return the body of a request that sends `length` bytes from `start` on; one is sent at a time."""
        return StreamedBody(length, self._name, lambda: self._range(start, length))

    async def aclose(self) -> None:
        """Close the source."""
        pieces, self._pieces = self._pieces, None
        self._rest = memoryview(b"")
        await close_pieces(pieces)

    async def _range(self, start: int, length: int) -> AsyncIterator[memoryview]:
        # After an interrupted read the pieces cannot be used.
        if self._pieces is None or self.offset != start or self._reading:
            await self.aclose()
            self._pieces, self.offset, self._reading = self._open_pieces(start), start, False
        while length and (piece := await self._take(self._pieces, length)):
            length -= len(piece)
            yield piece

    async def _take(self, pieces: AsyncPieces, most: int) -> memoryview:
        if not self._rest:
            self._reading = True
            self._rest = memoryview(await self._next(pieces))
            self._reading = False
        piece, self._rest = self._rest[:most], self._rest[most:]
        self.offset += len(piece)
        self.furthest = max(self.furthest, self.offset)
        return piece

    async def _next(self, pieces: AsyncPieces) -> Piece:
        try:
            return await anext(pieces, b"")
        except (NetworkError, RegistryError) as error:
            raise SourceError(f"cannot read {self._name} at its source: {error}", failure=error) from error
