"""What an archive is made of: bytes of a declared number, from a file or from memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from hangar_async.disk import behind, failing
from hangar_async.errors import StorageError


class Source(Protocol):
    """Bytes that are read once, from the start to the end; `size` of them."""

    size: int

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the start, without moving on."""
        ...

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill the views, one after the other, with the bytes that come next; raises StorageError."""
        ...


class FileSource:
    """A file of `size` bytes. Made by `open_source`."""

    def __init__(self, file: int, path: Path, size: int, read_on: Callable[[], None]) -> None:
        self._file = file
        self._path = path
        self._read_on = read_on
        self.size = size

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the start, without moving on."""
        with failing("read", self._path):
            return os.pread(self._file, min(count, self.size), 0)

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill the views with the bytes that come next; raises StorageError, also where the file ends too early."""
        rest = behind(views, 0)
        with failing("read", self._path):
            while rest:
                count = os.readv(self._file, rest)
                if not count:
                    raise self._wrong_size()
                rest = behind(rest, count)
        self._read_on()

    def check_end(self) -> None:
        """Raise StorageError if the file goes on."""
        with failing("read", self._path):
            if os.read(self._file, 1):
                raise self._wrong_size()

    def _wrong_size(self) -> StorageError:
        found = os.fstat(self._file).st_size
        return StorageError(
            f"{self._path} has {found} bytes, not the {self.size} that it was said to have",
            path=str(self._path),
            advice="something changed the file meanwhile; run the same command again",
        )


class BytesSource:
    """Bytes in memory."""

    def __init__(self, data: bytes) -> None:
        self._rest = memoryview(data)
        self.size = len(data)

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the start, without moving on."""
        return bytes(self._rest[:count])

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill the views with the bytes that come next."""
        for view in views:
            view[:] = self._rest[: len(view)]
            self._rest = self._rest[len(view) :]


@contextmanager
def open_source(path: Path, size: int, read_on: Callable[[], None]) -> Iterator[FileSource]:
    """Open a file that must have `size` bytes when all is read; links are not followed. Raises StorageError.

    `read_on` is called after every reading, of about 2 MiB.
    """
    with failing("read", path):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        source = FileSource(file, path, size, read_on)
        yield source
        source.check_end()
    finally:
        os.close(file)
