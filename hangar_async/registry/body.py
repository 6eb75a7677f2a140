"""Bodies of blobs: what arrives, piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp

from hangar_async.errors import DigestMismatch, HangarError, NetworkError
from hangar_async.oci.manifest import Descriptor
from hangar_async.registry.failures import reaching

#: A piece holds at least so many bytes where more follow, and at most so many.
SMALLEST_PIECE = 256 << 10
LARGEST_PIECE = 1 << 20


class BlobBody:
    """The bytes of a blob from `start` on, read once; at most 1 MiB lies in the stream beside the piece handed out."""

    def __init__(self, content: aiohttp.StreamReader, blob: Descriptor, start: int, host: str) -> None:
        self.start = start
        self._content = content
        self._blob = blob
        self._host = host
        self._arrived = 0
        self._held: list[bytes] = []
        self._end: HangarError | StopAsyncIteration | None = None

    def pieces(self) -> AsyncIterator[bytes]:
        """Iterate over the bytes, in pieces of 256 KiB to 1 MiB; the last one may be smaller.

        When the body breaks, stalls or ends early, all that had arrived is handed out first; then NetworkError is
        raised, with the number of these bytes as `gained`. Raises DigestMismatch for more bytes than the blob has.
        """
        return self

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        held = self._held
        # What is held stays held when we are cancelled here.
        while self._end is None and (not held or len(held[-1]) + sum(map(len, held[:-1])) < SMALLEST_PIECE):
            if data := await self._read():
                held.append(data)
        if not held:
            assert self._end is not None  # noqa: S101 - the loop has seen to it
            raise self._end
        ...
