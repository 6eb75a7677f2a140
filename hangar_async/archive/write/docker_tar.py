"""A tar without compression for `docker load`; its files are checked during the writing."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

from hangar_async.archive import tar_header
from hangar_async.archive.write.commit import TemporaryFiles
from hangar_async.disk import Disk
from hangar_async.oci import Digest, Piece, verified


class PlainTar:
    """Writes the tar `target`, which has its name only after `commit`; leaving the block without it leaves no files.

    Synchronous, for a thread. All methods raise StorageError.
    """

    def __init__(self, target: Path, *, sync: bool = True, disk: Disk | None = None) -> None:
        self._target = target
        self._sync = sync
        self._disk = disk or Disk()
        self._temporary = TemporaryFiles(target, self._disk)
        self._path = self._temporary.new()
        self._file: int | None = None
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            if self._file is not None:
                self._disk.release(self._file)
        finally:
            self._temporary.close()

    def add(
        self, name: str, size: int, pieces: Iterator[Piece], digest: Digest | None, report: Callable[[int], None]
    ) -> None:
        """Append a file of `size` bytes; `report` gets the number of bytes of each piece.

        Raises DigestMismatch when the size, or the digest where one is given, differs.
        """
        self._write(tar_header.header(tar_header.FILE, name, size=size))
        for piece in verified(pieces, digest, size, str(digest or name), advice="bring the archive here again"):
            report(len(piece))
            self._write(piece)
        self._write(tar_header.padding(size))

    def commit(self) -> int:
        """End the tar and give it its name; return its size in bytes."""
        self._write(tar_header.end(self._size))
        file, self._file = self._file, None
        if file is not None:
            if self._sync:
                self._disk.sync_file(file, self._path)
            self._disk.close(file, self._path)
        self._disk.rename(self._path, self._target)
        self._temporary.forget(self._path)
        if self._sync:
            self._disk.sync(self._target.parent)
        return self._size

    def _write(self, data: Piece) -> None:
        if self._file is None:
            self._file = self._disk.create(self._path)
        self._disk.write(self._file, data, self._path)
        self._size += len(data)
