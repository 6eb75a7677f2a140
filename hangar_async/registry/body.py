"""Bodies of blobs: what arrives, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from hangar_async.errors import DigestMismatch, HangarError, NetworkError
from hangar_async.oci.manifest import Descriptor
from hangar_async.registry.failures import reaching

#: A piece holds at least so many bytes where more follow, and at most so many.
SMALLEST_PIECE = 256 << 10
LARGEST_PIECE = 512 << 10


class BlobBody:
    """The bytes of a blob from `start` on, read once; at most 512 KiB lie in the stream beside the piece handed out."""

    def __init__(self, content: aiohttp.StreamReader, blob: Descriptor, start: int, host: str) -> None:
        self.start = start
        self._content = content
        self._blob = blob
        self._host = host
        self._expected = blob.size - start
        self._arrived = 0
        self._held: list[bytes] = []
        self._size = 0
        self._end: HangarError | StopAsyncIteration | None = None

    def pieces(self) -> AsyncIterator[bytes]:
        """Iterate over the bytes, in pieces of 256 to 512 KiB; the last one may be smaller.

        When the body breaks, stalls or ends early, all that had arrived is handed out first; then NetworkError is
        raised, with the number of these bytes as `gained`. Raises DigestMismatch for more bytes than the blob has.
        """
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        # What is held stays held when we are cancelled while reading.
        while self._end is None and self._size < SMALLEST_PIECE:
            await self._read()
        if not self._held:
            assert self._end is not None  # noqa: S101 - the loop has seen to it
            raise self._end
        return self._take()

    async def _read(self) -> None:
        """Take in what the stream has, waiting where it has nothing; note how the body ends."""
        try:
            with reaching(self._host, f"blob {self._blob.digest}"):
                data = await self._content.readany()
            if not data:
                self._end = self._ended()
        except NetworkError as error:
            data = self._rescue()
            self._end = error
            error.gained = self._arrived + len(data)
        self._arrived += len(data)
        if self._arrived > self._expected:
            self._held.clear()
            self._end = DigestMismatch(
                f"blob {self._blob.digest} from {self._host} is larger than the declared {self._blob.size} bytes",
                digest=str(self._blob.digest),
            )
        elif data:
            self._held.append(data)
            self._size += len(data)

    def _take(self) -> bytes:
        """Hand out what is held, but for the last read where it would be too much."""
        spare = [self._held.pop()] if len(self._held) > 1 and self._size > LARGEST_PIECE else []
        piece = self._held[0] if len(self._held) == 1 else b"".join(self._held)
        self._held = spare
        self._size = len(spare[0]) if spare else 0
        return piece

    def _ended(self) -> HangarError | StopAsyncIteration:
        """Say what the end of the stream means."""
        if self._arrived == self._expected:
            return StopAsyncIteration()
        return NetworkError(
            f"blob {self._blob.digest} from {self._host} ended after "
            f"{self.start + self._arrived} of {self._blob.size} bytes",
            host=self._host,
            gained=self._arrived,
        )

    def _rescue(self) -> bytes:
        """Get what had arrived before the stream broke.

        After a failure aiohttp hands out nothing more, though it still holds it; a blob that is to go on from the
        byte reached must not lose up to 512 KiB each time.
        """
        self._content.set_exception(None)  # type: ignore[arg-type]
        return self._content.read_nowait()
