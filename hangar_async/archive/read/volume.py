"""The files of an archive as one stream of bytes, read where they lie."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hangar_async.disk import before, behind, failing
from hangar_async.errors import ArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an archive, as it was when the archive was opened.

    `start` is where in the stream its bytes begin; `digest` the SHA-256 in hexadecimal that `NAME.sha256` has for
    it, None where nothing has; `identity` tells it from another file that takes its name.
    """

    path: Path
    start: int
    size: int
    digest: str | None
    identity: tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Volume:
    """An archive's parts, in order, as one stream of `size` bytes; `strays` lie beside it and are not of it.

    It holds nothing open, so any number of threads may read it. Made by `parts.find_volume`.
    """

    path: Path
    parts: tuple[Part, ...]
    strays: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """How long the stream is."""
        last = self.parts[-1]
        return last.start + last.size

    def part_at(self, offset: int) -> Part:
        """Return the part that holds a byte of the stream; the last one for what is behind the end."""
        return self.parts[max(0, bisect_right(self.parts, offset, key=lambda part: part.start) - 1)]

    def open(self, start: int = 0, end: int | None = None) -> Window:
        """Read the stream from `start` up to `end`; the caller closes what is returned, in the end."""
        return Window(self, start, self.size if end is None else end)

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes of the stream, or as many as there are; raises ArchiveError, StorageError."""
        with self.open(start, min(start + count, self.size)) as window:
            return window.read()

    def broken(self, offset: int, problem: str) -> NoReturn:
        """Raise an ArchiveError that names the part where the stream is broken."""
        part = self.part_at(offset)
        raise ArchiveError(f"{part.path}: {problem} (byte {max(0, offset - part.start)})", path=str(part.path))


class Window(io.RawIOBase):
    """A stretch of a volume as a file, from 0 to its length, for one thread; raises ArchiveError, StorageError."""

    def __init__(self, volume: Volume, start: int, end: int) -> None:
        super().__init__()
        self.volume = volume
        self._start = start
        self._end = end
        self._position = start
        self._part: Part | None = None
        self._file = -1

    @property
    def offset(self) -> int:
        """Where in the volume's stream the next byte is."""
        return self._position

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Whether it can be moved about in."""
        return True

    def tell(self) -> int:
        """Return the position, from the start of the stretch."""
        return self._position - self._start

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position of the stretch."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self._position, os.SEEK_END: self._end}[whence]
        self._position = max(self._start, base + offset)
        return self.tell()

    @property
    def left(self) -> int:
        """How many bytes there are from the position to the end of the stretch."""
        return max(0, self._end - self._position)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer with what comes next; it ends early only at the end of the stretch."""
        return self.readv([memoryview(buffer).cast("B")[: self.left]])

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, or all that is left."""
        size = self.left if size < 0 else min(size, self.left)
        part = self.volume.part_at(self._position)
        inside = self._position - part.start
        if size and inside + size <= part.size:
            # One copy less than by way of `readinto`.
            self._go_to(part)
            with failing("read", part.path):
                data = os.pread(self._file, size, inside)
            if len(data) == size:
                self._position += size
                return data
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def readv(self, views: Sequence[memoryview]) -> int:
        """Fill several buffers, of not more bytes than are `left`, one after the other."""
        rest = behind(views, 0)
        done = 0
        while rest:
            part = self._go_to(self.volume.part_at(self._position))
            inside = self._position - part.start
            with failing("read", part.path):
                count = os.preadv(self._file, before(rest, part.size - inside), inside)
            if not count:
                self.volume.broken(self._position, "ends too early; it was cut while it was read")
            rest = behind(rest, count)
            done += count
            self._position += count
        return done

    def check(self) -> None:
        """Raise ArchiveError, StorageError where the part that was read last is not what it was, or is gone."""
        if self._part is not None:
            with failing("read", self._part.path):
                self._compare(self._part, self._part.path.stat())

    def close(self) -> None:
        """Close the file that is open; may be called again."""
        if not self.closed:
            self._leave()
            super().close()

    def _go_to(self, part: Part) -> Part:
        if self._part is not part:
            self._leave()
            with failing("read", part.path):
                self._file = os.open(part.path, os.O_RDONLY | os.O_CLOEXEC)
                found = os.fstat(self._file)
            self._part = part
            self._compare(part, found)
        return part

    def _compare(self, part: Part, found: os.stat_result) -> None:
        if (found.st_size, *identity(found)) != (part.size, *part.identity):
            raise ArchiveError(
                f"{part.path} is not the file any more that it was when the archive was opened",
                path=str(part.path),
                advice="leave the archive alone while it is read, and run the same command again",
            )

    def _leave(self) -> None:
        file, self._file, self._part = self._file, -1, None
        if file >= 0:
            os.close(file)


def identity(found: os.stat_result) -> tuple[int, int, int]:
    """Tell a file from others of its name."""
    return found.st_dev, found.st_ino, found.st_mtime_ns
