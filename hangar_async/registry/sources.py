"""Sources: where the bytes of an upload come from, and how far they were read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

from hangar_async.registry.sending import Pieces, Stream

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
