"""Lists whose values are in a file, for runs over more images than memory should hold."""

from __future__ import annotations

import os
import pickle
import secrets
from array import array
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import gettempdir
from typing import TypeVar, overload

from hangar_async.disk import Disk, Failing

_T = TypeVar("_T")
#: The values in memory: of a list with no more, nothing is written.
KEPT = 500
#: Bytes that are collected before they are written.
_BUFFER = 64 << 10


class Spooled(Sequence[_T]):
    """A list of values: the first ones are in memory, all others in a file without a name, until the list goes.

    Values of the file are pickled, and read again each time: they are equal to the appended ones, and not the same.
    Raises StorageError.
    """

    def __init__(self, disk: Disk | None = None, kept: int = KEPT) -> None:
        self._disk = disk or Disk()
        self._kept = kept
        self._first: list[_T] = []
        self._ends = array("Q", [0])
        self._buffer = bytearray()
        self._written = 0
        self._file: int | None = None
        self._path = Path(gettempdir()) / f".hangar-async-{os.getpid()}-{secrets.token_hex(8)}"

    def __del__(self) -> None:
        if self._file is not None:
            self._disk.release(self._file)

    def append(self, value: _T) -> None:
        """Append a value."""
        if len(self._first) < self._kept:
            self._first.append(value)
            return
        data = pickle.dumps(value, pickle.HIGHEST_PROTOCOL)
        self._buffer += data
        self._ends.append(self._ends[-1] + len(data))
        if len(self._buffer) >= _BUFFER:
            self._write()

    def sequence(self) -> Sequence[_T]:
        """Return the values so far: as a tuple where all are in memory."""
        return tuple(self._first) if len(self._ends) == 1 else self

    def __len__(self) -> int:
        return len(self._first) + len(self._ends) - 1

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...

    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        if isinstance(index, slice):
            return [self[number] for number in range(*index.indices(len(self)))]
        number = index + len(self) if index < 0 else index
        if not 0 <= number < len(self):
            raise IndexError(index)
        return self._first[number] if number < len(self._first) else self._read(number - len(self._first))

    def __iter__(self) -> Iterator[_T]:
        yield from self._first
        for number in range(len(self._ends) - 1):
            yield self._read(number)

    def _write(self) -> None:
        if self._file is None:
            self._file = self._disk.create(self._path, mode=0o600)
            self._disk.remove(self._path)
        self._disk.write(self._file, bytes(self._buffer), self._path)
        self._written += len(self._buffer)
        self._buffer.clear()

    def _read(self, number: int) -> _T:
        start, end = self._ends[number], self._ends[number + 1]
        if start >= self._written:
            data = bytes(self._buffer[start - self._written : end - self._written])
        else:
            assert self._file is not None  # noqa: S101 - it was written
            with Failing("read", self._path):
                data = os.pread(self._file, end - start, start)
        value: _T = pickle.loads(data)  # noqa: S301 - of this object, in a file without a name
        return value
