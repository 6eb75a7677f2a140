"""Content of an archive that is made bit by bit before its size is known, such as its index."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from hangar_async.archive.write.codec import Input, bytes_input, open_input
from hangar_async.disk import Disk
from hangar_async.oci import Digest

#: Content of no more bytes stays in memory.
MOST_IN_MEMORY = 1 << 20


class SpooledContent:
    """Bytes that are appended and then read once; what is large lies in a file, whose name `new_path` gives.

    The caller removes the file. All methods raise StorageError.
    """

    def __init__(self, disk: Disk, new_path: Callable[[], Path], pieces: Iterable[bytes] = ()) -> None:
        self._disk = disk
        self._new_path = new_path
        self._buffer = bytearray()
        self._path: Path | None = None
        self._file: int | None = None
        self._hash = hashlib.sha256()
        self._size = 0
        for piece in pieces:
            self.append(piece)

    @property
    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest("sha256", self._hash.hexdigest())

    def append(self, data: bytes) -> None:
        """Append bytes."""
        self._hash.update(data)
        self._size += len(data)
        self._buffer += data
        if len(self._buffer) > MOST_IN_MEMORY:
            self._write()

    @contextmanager
    def opened(self) -> Iterator[Input]:
        """Open all bytes."""
        if self._path is not None:
            self._write()
        whole = nullcontext(bytes_input(bytes(self._buffer)))
        with whole if self._path is None else open_input(self._path, self._size, lambda: None) as source:
            yield source

    def close(self) -> None:
        """Close the file; may be called again."""
        file, self._file = self._file, None
        if file is not None:
            self._disk.release(file)

    def _write(self) -> None:
        if self._path is None:
            path = self._new_path()
            self._file, self._path = self._disk.create(path), path
        if self._file is not None:
            self._disk.write(self._file, bytes(self._buffer), self._path)
        self._buffer.clear()
