"""The writer of a tar for `docker load`, plain or compressed as a whole."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import zstandard

from hangar_async.archive import tar_header
from hangar_async.archive.write.writer import temporary_files
from hangar_async.disk import Disk
from hangar_async.oci import Digest, Piece, verified


class PlainTar:
    """Writes the tar `target`, which has its name only after `commit`; leaving the block without it leaves no files.

    `compressed` compresses it by zstd. Synchronous, for a thread. `check` is called while it begins, and ends it by an
    exception. All methods raise StorageError.
    """

    def __init__(
        self,
        target: Path,
        *,
        sync: bool = True,
        disk: Disk | None = None,
        check: Callable[[], None] = lambda: None,
        compressed: bool = False,
    ) -> None:
        self._target = target
        self._sync = sync
        self._disk = disk or Disk()
        self._temporary = temporary_files(target, self._disk, check=check)
        self._path = self._temporary.new()
        self._file: int | None = None
        self._size = 0
        self._stored = 0
        zstd = zstandard.ZstdCompressor(level=3, write_checksum=True)
        self._compressor = zstd.compressobj() if compressed else None

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
        if self._compressor is not None:
            self._store(self._compressor.flush())
        file, self._file = self._file, None
        if file is not None:
            if self._sync:
                self._disk.sync_file(file, self._path)
            self._disk.close(file, self._path)
        self._disk.rename(self._path, self._target)
        self._temporary.forget(self._path)
        if self._sync:
            self._disk.sync(self._target.parent)
        return self._stored

    def _write(self, data: Piece) -> None:
        self._size += len(data)
        self._store(data if self._compressor is None else self._compressor.compress(data))

    def _store(self, data: Piece) -> None:
        if self._file is None:
            self._file = self._disk.create(self._path)
        self._disk.write(self._file, data, self._path)
        self._stored += len(data)
