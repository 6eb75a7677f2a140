"""Bodies of blobs: what arrives, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Protocol

import aiohttp

from hangar_async.errors import DigestMismatch, NetworkError
from hangar_async.oci.manifest import Descriptor
from hangar_async.registry.failures import reaching

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


class BlobBody:
    """The bytes of a blob from `start` on, read once. Made by `open_body`, which closes it."""

    def __init__(self, feed: Feed, blob: Descriptor, start: int, host: str) -> None:
        self.start = start
        self._feed = feed
        self._blob = blob
        self._host = host
        self._expected = blob.size - start
        self._arrived = 0

    def pieces(self) -> AsyncIterator[bytes | memoryview]:
        """Iterate over the bytes, in pieces of 256 to 512 KiB; the last one may be smaller.

        A piece is good until the next one is asked for. When the body breaks, stalls or ends early, all that had
        arrived is handed out first; then NetworkError is raised, with the number of these bytes as `gained`. Raises
        DigestMismatch for more bytes than the blob has.
        """
        return self

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        try:
            with reaching(self._host, f"blob {self._blob.digest}"):
                piece = await self._feed.next()
        except NetworkError as error:
            error.gained = self._arrived
            raise
        self._arrived += len(piece)
        if self._arrived > self._expected:
            raise DigestMismatch(
                f"blob {self._blob.digest} from {self._host} is larger than the declared {self._blob.size} bytes",
                digest=str(self._blob.digest),
            )
        if not piece:
            raise StopAsyncIteration if self._arrived == self._expected else self._early()
        return piece

    def close(self) -> None:
        """Let go of the connection; may be called again."""
        self._feed.close()

    def _early(self) -> NetworkError:
        return NetworkError(
            f"blob {self._blob.digest} from {self._host} ended after "
            f"{self.start + self._arrived} of {self._blob.size} bytes",
            host=self._host,
            gained=self._arrived,
        )


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
