"""Responses, and their bodies: the bytes of blobs as they arrive, in pieces of up to 512 KiB; the last may be small.

A piece is valid until the next one is read. When a body breaks, all bytes so far come first; then the error is raised.
A cancelled read loses nothing.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self, TypeAlias, cast
from urllib.parse import unquote

import aiohttp
from aiohttp.client_proto import ResponseHandler
from multidict import CIMultiDictProxy
from yarl import URL

from hangar_async.buffers import SIZES, PieceBuffers
from hangar_async.errors import ContentError, DigestMismatch, InvalidValue, NetworkError, RegistryError
from hangar_async.oci import Digest, Piece
from hangar_async.registry.failures import Reaching, refused
from hangar_async.registry.http.limits import Deadline, Transfer

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


#: The most bytes that are read of the body of an error, and the most seconds.
MAX_ERROR_BODY = 64 << 10
_ERROR_BODY_TIMEOUT = 10.0
#: For content that has another digest at a registry than when it was sent.
CHANGED_ADVICE = (
    "run the same command again; if it stays so, the registry, or a proxy before it, changes what it is sent: tell its "
    "operator"
)


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body is not read yet, to be closed; errors name `host` as its source.

    `redirected` is True for another origin than that of the request, and `internal` where it came from this machine or
    its link, through no proxy. `open_body` opens a long body, which must be read and closed before the response ends.
    Any other one must be complete `seconds` after the response began. `settled` waits for the end of the request.
    """

    raw: aiohttp.ClientResponse = field(repr=False)
    host: str
    redirected: bool
    open_body: Callable[[], ResponseBody] = field(repr=False)
    seconds: float
    internal: bool = False
    settled: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    _began: float = field(default_factory=lambda: asyncio.get_running_loop().time(), repr=False)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.raw.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The header fields."""
        return self.raw.headers

    @property
    def url(self) -> URL:
        """The URL of the response."""
        return self.raw.url

    @property
    def origin(self) -> str:
        """The host, for messages about wrong bytes; with the Content-Encoding of the body, which is never decoded."""
        encoding = self.headers.get("Content-Encoding", "").strip()
        return f"{self.host} (Content-Encoding {encoding[:20]!r})" if encoding else self.host

    @property
    def digest(self) -> Digest | None:
        """The digest in Docker-Content-Digest; None without one that can be read."""
        return read_digest(self.headers.get("Docker-Content-Digest", ""))

    async def close(self) -> None:
        """Keep the connection for the next request where the body was read to its end, else close it."""
        self.raw.release()
        if self.settled is not None:
            await self.settled()

    async def read(self, subject: str, limit: int, digest: str = "") -> bytes:
        """Read the whole body; raises NetworkError, or ContentError for one of more than `limit` bytes."""
        body = bytearray()
        async with Deadline(self.seconds, f"{subject} from {self.host}", self.host, self._began):
            with Reaching(self.host, subject):
                while data := await self.raw.content.readany():
                    body += data
                    if len(body) > limit:
                        raise ContentError(f"{subject} from {self.host} is larger than {limit} bytes", digest=digest)
        return bytes(body)

    async def drain(self) -> bytes:
        """Read and return the start of the body; after a short one the connection can be used again."""
        body = bytearray()
        with suppress(NetworkError, TimeoutError):
            async with asyncio.timeout(_ERROR_BODY_TIMEOUT):
                with Reaching(self.host):
                    while len(body) <= MAX_ERROR_BODY and (data := await self.raw.content.readany()):
                        body += data
        return bytes(body[:MAX_ERROR_BODY])

    async def refusal(self, subject: str, source: str = "", *, push: bool = False) -> RegistryError:
        """Make the error for this response to a request for `subject`; see `failures.refused`."""
        content = self.headers, await self.drain()
        return refused(self.host, subject, self.status, *content, source=source, redirected=self.redirected, push=push)

    def require_digest(self, digest: Digest, subject: str) -> None:
        """Raise DigestMismatch where the registry gives pushed content another digest of the same algorithm.

        The digest may be in Docker-Content-Digest, and at the end of the Location.
        """
        location = unquote(self.headers.get("Location", "").partition("?")[0])
        for named in (self.digest, read_digest(location.rpartition("/")[2])):
            if named is not None and named.algorithm == digest.algorithm and named != digest:
                message = f"{self.host} has {subject} under another digest, {named}"
                raise DigestMismatch(message, digest=str(digest), advice=CHANGED_ADVICE)


def read_digest(text: str) -> Digest | None:
    """Read the digest in a header; None without one that can be read."""
    with suppress(InvalidValue):
        return Digest.parse(text.strip())
    return None
