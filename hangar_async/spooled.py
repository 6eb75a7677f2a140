"""Sequences whose values are not in memory, for runs over more images than it should hold."""

from __future__ import annotations

import copyreg
import io
import os
import secrets
from array import array
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, overload

from hangar_async.disk import Disk, Failing
from hangar_async.errors import StorageError

_T = TypeVar("_T")
_V = TypeVar("_V")
#: The values in memory: of a list with no more, nothing is written.
KEPT = 500
#: Bytes that are collected before they are written.
_BUFFER = 64 << 10


def _read_only(values: dict[Any, Any]) -> MappingProxyType[Any, Any]:
    return MappingProxyType(values)


def _reduced(proxy: MappingProxyType[Any, Any]) -> tuple[Any, ...]:
    return _read_only, (dict(proxy),)


def pickled(value: object) -> bytes:
    """Write a value for another process, or to read it again; values of the specifications hold read-only mappings."""
    import pickle  # for long lists and clusters alone

    out = io.BytesIO()
    pickler = pickle.Pickler(out, pickle.HIGHEST_PROTOCOL)
    pickler.dispatch_table = {**copyreg.dispatch_table, MappingProxyType: _reduced}
    pickler.dump(value)
    return out.getvalue()


class Spooled(Sequence[_T]):
    """A list of values: the first ones are in memory, all others in a file without a name, until the list goes.

    Values of the file are pickled, and read again each time: they are equal to the appended ones, and not the same.
    Where the file cannot be made or is full, the values stay in memory: no run fails for it. Reading raises
    StorageError.
    """

    def __init__(self, disk: Disk | None = None, kept: int = KEPT) -> None:
        self._disk = disk or Disk()
        self._kept = kept
        self._first: list[_T] = []
        #: Where the values of the file begin and end.
        self._starts = array("Q")
        self._ends = array("Q")
        self._buffer = bytearray()
        self._written = 0
        self._is_full = False
        self._file: int | None = None
        self._path = Path()

    def __del__(self) -> None:
        if self._file is not None:
            self._disk.release(self._file)

    def append(self, value: _T) -> None:
        """Append a value."""
        if len(self._first) < self._kept:
            self._first.append(value)
            return
        start, end = self._put(value)
        self._starts.append(start)
        self._ends.append(end)

    def __setitem__(self, number: int, value: _T) -> None:
        """Put a value at a place, also beyond the end: the places before it wait for theirs, and are not read before.

        All places of a list that is shorter than `kept` are in memory.
        """
        if number < self._kept:
            self._first += [value] * (number + 1 - len(self._first))
            self._first[number] = value
            return
        self._first += [value] * (self._kept - len(self._first))
        number -= self._kept
        missing = range(number + 1 - len(self._ends))
        self._starts.extend(0 for _ in missing)
        self._ends.extend(0 for _ in missing)
        self._starts[number], self._ends[number] = self._put(value)

    def sequence(self) -> Sequence[_T]:
        """Return the values so far: as a tuple where all are in memory."""
        return tuple(self._first) if not self._ends else self

    def __len__(self) -> int:
        return len(self._first) + len(self._ends)

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
        for number in range(len(self._ends)):
            yield self._read(number)

    def _put(self, value: _T) -> tuple[int, int]:
        """Add a value to the bytes of the file, and return where it begins and ends."""
        start = self._written + len(self._buffer)
        self._buffer += pickled(value)
        end = self._written + len(self._buffer)
        if len(self._buffer) >= _BUFFER and not self._is_full:
            # What a write that fails has left in the file is not read.
            self._is_full = True
            with suppress(StorageError):
                self._write()
                self._is_full = False
        return start, end

    def _write(self) -> None:
        if self._file is None:
            from tempfile import gettempdir  # for long lists alone

            with Failing("find", "a temporary directory"):
                directory = Path(gettempdir())
            self._path = directory / f".hangar-async-{os.getpid()}-{secrets.token_hex(8)}"
            self._file = self._disk.create(self._path, mode=0o600)
            self._disk.remove(self._path)
        self._disk.write(self._file, bytes(self._buffer), self._path)
        self._written += len(self._buffer)
        self._buffer.clear()

    def _read(self, number: int) -> _T:
        import pickle

        start, end = self._starts[number], self._ends[number]
        if start >= self._written:
            data = bytes(self._buffer[start - self._written : end - self._written])
        else:
            assert self._file is not None  # noqa: S101 - it was written
            with Failing("read", self._path):
                data = os.pread(self._file, end - start, start)
        value: _T = pickle.loads(data)  # noqa: S301 - of this object, in a file without a name
        return value


class Computed(Sequence[_T]):
    """A sequence whose values are made of others when they are asked for, and not kept."""

    def __init__(self, values: Sequence[_V], make: Callable[[_V], _T]) -> None:
        self._count = len(values)
        self._make: Callable[[int], _T] = lambda number: make(values[number])

    def sequence(self) -> Sequence[_T]:
        """Return the values: as a tuple where they are few."""
        return tuple(self) if self._count <= KEPT else self

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, index: int) -> _T: ...

    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...

    def __getitem__(self, index: int | slice) -> _T | list[_T]:
        if isinstance(index, slice):
            return [self._make(number) for number in range(*index.indices(self._count))]
        return self._make(range(self._count)[index])

    def __iter__(self) -> Iterator[_T]:
        return map(self._make, range(self._count))
