"""A directory as a layout."""

from __future__ import annotations

import os
from collections.abc import Collection, Hashable, Iterator, Mapping
from contextlib import closing
from pathlib import Path

from hangar_async.disk import Failing
from hangar_async.errors import StorageError
from hangar_async.layout.files import LayoutFile, named_digest
from hangar_async.oci import PIECE, read_pieces

#: `share/sha256/<hex>` is the deepest.
_DEPTH = 3


class DirectoryLayout:
    """The files below a cache directory; links, and names that begin with a dot, are passed over.

    `links` has the targets of links to files, by their names, once the sizes are known.
    """

    is_seekable = True

    def __init__(self, root: Path) -> None:
        self.root = root
        self.links: dict[str, str] = {}
        self._sizes: dict[str, int] | None = None

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every regular file, by its name; raises StorageError."""
        if self._sizes is None:
            self._sizes = dict(_walk(self.root, "", _DEPTH, self.links))
        return self._sizes

    def stored_size(self) -> int:
        """Return the bytes of the files below the root that lie in directories of their own; raises StorageError."""
        return sum(size for name, size in self.sizes().items() if "/" in name)

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in the order of their names."""
        chosen = None if names is None else set(names)
        for name, size in self.sizes().items():
            if chosen is None or name in chosen:
                yield LayoutFile(name, size, named_digest(name), _pieces(self._path(name), size))

    def open(self, name: str, start: int = 0) -> FileReader:
        """Open the file of this name, which `sizes` has, at byte `start`; raises StorageError."""
        return FileReader(self._path(name), start)

    def _path(self, name: str) -> Path:
        return self.root / name


class FileReader:
    """The content of a file from byte `start` on; a link is not followed. One thread at a time."""

    def __init__(self, path: Path, start: int = 0) -> None:
        self._path = path
        self._file = -1
        with Failing("read", path):
            self._file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                #: Equal for two readers of one file that has not changed in between.
                self.identity: Hashable = _identity(os.fstat(self._file))
                os.lseek(self._file, start, os.SEEK_SET)
            except BaseException:
                self.close()
                raise

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end."""
        with Failing("read", self._path):
            return os.readv(self._file, [buffer])

    def check(self) -> None:
        """Raise StorageError where the file of this name is another one now, or was changed."""
        with Failing("read", self._path):
            identity = _identity(self._path.stat(follow_symlinks=False))
        if identity != self.identity:
            raise StorageError(
                f"{self._path} was changed while it was read",
                path=str(self._path),
                advice="do not change the directory while it is read, and run the same command again",
            )

    def close(self) -> None:
        """Close the file; may be called again."""
        file, self._file = self._file, -1
        if file >= 0:
            os.close(file)


def _identity(status: os.stat_result) -> Hashable:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _walk(root: Path, below: str, depth: int, links: dict[str, str]) -> Iterator[tuple[str, int]]:
    try:
        with os.scandir(root / below) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        for entry in ordered:
            name = f"{below}/{entry.name}" if below else entry.name
            if entry.name.startswith("."):
                continue
            if entry.is_file(follow_symlinks=False):
                yield name, entry.stat(follow_symlinks=False).st_size
            elif entry.is_symlink():
                links[name] = str(Path(entry.path).readlink())
            elif entry.is_dir(follow_symlinks=False) and depth > 1:
                yield from _walk(root, name, depth - 1, links)
    except OSError as error:
        raise StorageError.of(error, root / below, "read") from error


def _pieces(path: Path, size: int) -> Iterator[memoryview]:
    with closing(FileReader(path)) as reader:
        yield from read_pieces(reader, memoryview(bytearray(min(PIECE, size + 1))))
