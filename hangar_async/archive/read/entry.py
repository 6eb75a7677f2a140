"""The content of one file of an archive, read through the index."""

from __future__ import annotations

import io
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING

from hangar_async.archive.index import Entry
from hangar_async.archive.read.decode import Decoder, fill
from hangar_async.archive.read.volume import Volume, Window

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_SKIP = 1 << 18


class EntryReader(io.RawIOBase):
    """A file's content from `offset` of the stream on, where `size` bytes of it are left, by a decoder of the window.

    Ends after exactly so many bytes: more or fewer are an ArchiveError that names the part. One thread at a time.
    """

    def __init__(
        self, volume: Volume, entry: Entry, offset: int, size: int, decoder: Callable[[Window], Decoder]
    ) -> None:
        super().__init__()
        self._entry = entry
        self._rest = size
        self._ended = False
        #: The window sees to it that every part is as it was when the archive was opened.
        self.identity: Hashable = volume.path
        self._window = volume.open(offset, entry.offset + entry.length)
        self._decoder = decoder(self._window)

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer; what is less is the end."""
        view = memoryview(buffer).cast("B")[: self._rest]
        done = fill(self._decoder, self._window, view)
        self._rest -= done
        if done < len(view):
            self._broken(f"ends {self._rest} bytes too early")
        if not self._rest and not self._ended:
            self._ended = True
            if fill(self._decoder, self._window, memoryview(bytearray(1))):
                self._broken(f"has more than its {self._entry.size} bytes")
        return done

    def skip(self, count: int) -> None:
        """Decode `count` bytes for nothing."""
        buffer = memoryview(bytearray(min(count, _SKIP)))
        while count > 0:
            count -= self.readinto(buffer[:count])

    def check(self) -> None:
        """Raise ArchiveError, StorageError where the archive is no longer what it was, as far as it was read now."""
        self._window.check()

    def close(self) -> None:
        """Close the file that it reads; may be called again."""
        self._window.close()
        super().close()

    def _broken(self, problem: str) -> None:
        self._window.volume.broken(self._window.offset, f"{self._entry.name} {problem}")
