"""The input of the writer: bytes of a declared number, from a file or from memory."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hangar_async.disk import behind, failing
from hangar_async.errors import StorageError


class Input:
    """Bytes that are read once, from the start to the end; `size` of them. Made by `open_input` or `bytes_input`.

    `readv` fills views with the next bytes, as `os.readv` does; `pread` returns up to a number of bytes from the start.
    `read_on` is called after every reading, of about 2 MiB. `path` is for messages.
    """

    def __init__(
        self,
        path: Path,
        size: int,
        readv: Callable[[Sequence[memoryview]], int],
        pread: Callable[[int], bytes],
        read_on: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self.size = size
        self._readv = readv
        self._pread = pread
        self._read_on = read_on
        self._position = 0

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the start, without moving on."""
        with failing("read", self._path):
            return self._pread(min(count, self.size))

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill the views with the next bytes; raises StorageError, also where the file ends too early."""
        rest = behind(views, 0)
        with failing("read", self._path):
            while rest:
                count = self._readv(rest)
                if not count:
                    raise self.wrong_size(self._position)
                self._position += count
                rest = behind(rest, count)
        self._read_on()

    def wrong_size(self, size: int) -> StorageError:
        """Make the error for a file that has `size` bytes."""
        return StorageError(
            f"{self._path} has {size} bytes, not the {self.size} that it was said to have",
            path=str(self._path),
            advice="something changed the file meanwhile; run the same command again",
        )


def bytes_input(data: bytes) -> Input:
    """Make an input of bytes in memory."""
    memory = io.BytesIO(data)
    return Input(Path(), len(data), lambda views: sum(map(memory.readinto, views)), lambda count: data[:count])


@contextmanager
def open_input(path: Path, size: int, read_on: Callable[[], None]) -> Iterator[Input]:
    """Open a file that must have `size` bytes when all is read; links are not followed. Raises StorageError."""
    with failing("read", path):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        source = Input(path, size, partial(os.readv, file), lambda count: os.pread(file, count, 0), read_on)
        yield source
        if (actual := os.fstat(file).st_size) != size:
            raise source.wrong_size(actual)
    finally:
        os.close(file)
