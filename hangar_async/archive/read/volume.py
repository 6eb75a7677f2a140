"""The parts of an archive, and their bytes as one stream."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, TypeVar

from hangar_async.archive.names import told_name
from hangar_async.disk import Failing, leading, remaining
from hangar_async.errors import ArchiveError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_Found = TypeVar("_Found")


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an archive, as at the opening of the archive.

    `start` is the offset of its first byte in the stream. `digest` is the SHA-256 in hexadecimal that `NAME.sha256` has
    for it, None without one. `identity` differs for another file of the same name. `temporary` is the name that the
    file has until its commit is finished.
    """

    path: Path
    start: int
    size: int
    digest: str | None
    identity: tuple[int, int, int]
    temporary: Path | None = None

    def open(self) -> int:
        """Open the file; the caller closes the descriptor. Raises StorageError."""
        with Failing("read", self.path):
            return first_of(lambda path: os.open(path, os.O_RDONLY | os.O_CLOEXEC), self.temporary, self.path)

    def status(self) -> os.stat_result:
        """Look at the file; raises StorageError."""
        with Failing("read", self.path):
            return first_of(os.stat, self.temporary, self.path)


def first_of(look: Callable[[Path], _Found], temporary: Path | None, path: Path) -> _Found:
    """Look at the temporary name, where it is gone at the final one, and then at the temporary one once more.

    A commit that fails gives its files their temporary names back.
    """
    if temporary is not None:
        for name in (temporary, path, temporary):
            with suppress(FileNotFoundError):
                return look(name)
    return look(path)


@dataclass(frozen=True, slots=True)
class Volume:
    """An archive's parts, in order, as one stream of `size` bytes; `strays` look like parts of it and are not.

    It keeps no file open, so any number of threads may read it. Made by `search.find_volume`.
    """

    path: Path
    parts: tuple[Part, ...]
    strays: tuple[Path, ...] = ()

    @property
    def size(self) -> int:
        """The length of the stream."""
        return self.parts[-1].start + self.parts[-1].size

    def part_at(self, offset: int) -> Part:
        """Return the part with a byte of the stream; the last one for an offset after the end."""
        return self.parts[max(0, bisect_right(self.parts, offset, key=lambda part: part.start) - 1)]

    def open(self, start: int = 0, end: int | None = None) -> Window:
        """Read the stream from `start` up to `end`; the caller closes the window."""
        return Window(self, start, self.size if end is None else end)

    def read(self, start: int, count: int) -> bytes:
        """Return `count` bytes of the stream, or fewer at its end; raises ArchiveError, StorageError."""
        with self.open(start, min(start + count, self.size)) as window:
            return window.read()

    def read_end(self, count: int) -> bytes:
        """Return the last `count` bytes of the stream; raises ArchiveError, StorageError."""
        return self.read(max(0, self.size - count), count)

    def broken(self, offset: int, problem: str) -> NoReturn:
        """Raise an ArchiveError that names the part with the broken byte of the stream."""
        part = self.part_at(offset)
        name = told_name(part.path)
        raise ArchiveError(f"{name}: {problem} (byte {max(0, offset - part.start)})", path=name)


class Window(io.RawIOBase):
    """A range of a volume as a file, from 0 to its length, for one thread; raises ArchiveError, StorageError."""

    def __init__(self, volume: Volume, start: int, end: int) -> None:
        super().__init__()
        self.volume = volume
        self._start = start
        #: The offset of the end of the range; a reader of pieces moves it from one to the next.
        self.end = end
        #: The offset of the next byte in the stream of the volume.
        self.offset = start
        self._part: Part | None = None
        self._file = -1

    def readable(self) -> bool:
        """Tell whether it can be read."""
        return True

    def seekable(self) -> bool:
        """Tell whether its position can be changed."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Go to a position of the range, and return it."""
        base = {os.SEEK_SET: self._start, os.SEEK_CUR: self.offset, os.SEEK_END: self.end}[whence]
        self.offset = max(self._start, base + offset)
        return self.offset - self._start

    @property
    def left(self) -> int:
        """The number of bytes from the position to the end of the range."""
        return max(0, self.end - self.offset)

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer with the next bytes, except at the end of the range."""
        return self.readv([memoryview(buffer).cast("B")[: self.left]])

    def read(self, size: int = -1, /) -> bytes:
        """Return `size` bytes, or all that are left."""
        size = self.left if size < 0 else min(size, self.left)
        part = self.volume.part_at(self.offset)
        inside = self.offset - part.start
        if size and inside + size <= part.size:
            # One copy less than by `readinto`.
            self._open(part)
            with Failing("read", part.path):
                data = os.pread(self._file, size, inside)
            if len(data) == size:
                self.offset += size
                return data
        buffer = bytearray(size)
        return bytes(buffer[: self.readinto(buffer)])

    def readv(self, views: Sequence[memoryview]) -> int:
        """Fill several buffers, of at most `left` bytes, one after the other."""
        rest = remaining(views, 0)
        done = 0
        while rest:
            part = self.volume.part_at(self.offset)
            self._open(part)
            inside = self.offset - part.start
            with Failing("read", part.path):
                count = os.preadv(self._file, leading(rest, part.size - inside), inside)
            if not count:
                self.broken("ends too early; it was cut during the reading")
            rest = remaining(rest, count)
            done += count
            self.offset += count
        return done

    def broken(self, problem: str, offset: int | None = None) -> NoReturn:
        """Raise an ArchiveError that names the part at an offset of the stream, or else at the position."""
        self.volume.broken(self.offset if offset is None else offset, problem)

    def check(self) -> None:
        """Raise ArchiveError, StorageError where the last part that was read has changed, or is gone."""
        if self._part is not None:
            _compare(self._part, self._part.status())

    def close(self) -> None:
        """Close the open file; may be called again."""
        if not self.closed:
            self._close_part()
            super().close()

    def _open(self, part: Part) -> None:
        if self._part is not part:
            self._close_part()
            self._file = part.open()
            self._part = part
            _compare(part, os.fstat(self._file))

    def _close_part(self) -> None:
        file, self._file, self._part = self._file, -1, None
        if file >= 0:
            os.close(file)


def identity(status: os.stat_result) -> tuple[int, int, int]:
    """Return values that differ for another file of the same name."""
    return status.st_dev, status.st_ino, status.st_mtime_ns


def _compare(part: Part, status: os.stat_result) -> None:
    if (status.st_size, *identity(status)) != (part.size, *part.identity):
        raise ArchiveError(
            f"{part.path} has changed since the archive was opened",
            path=str(part.path),
            advice="do not change the archive during the reading, and run the same command again",
        )
