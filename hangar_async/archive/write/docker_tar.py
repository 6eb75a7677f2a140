"""A tar without compression, its files checked as they are written: what `docker load` reads."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from hangar_async.archive import tar_header
from hangar_async.archive.write.commit import TemporaryNames
from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest


class PlainTar:
    """Writes the tar `target`, which has its name only after `commit`; leaving the block without it leaves nothing.

    Synchronous, for a thread. All methods raise StorageError.
    """

    def __init__(self, target: Path, *, sync: bool = True, disk: Disk | None = None) -> None:
        self._target = target
        self._sync = sync
        self._disk = disk or Disk()
        self._names = TemporaryNames(target, self._disk)
        self._path = self._names.new()
        self._file: int | None = None
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._file is not None:
                self._disk.release(self._file)
        finally:
            self._names.close()

    def add(
        self,
        name: str,
        size: int,
        pieces: Iterator[bytes | memoryview],
        digest: Digest | None,
        goes_on: Callable[[int], None],
    ) -> None:
        """Append a file of `size` bytes; `goes_on` is told the bytes of each piece.

        Raises DigestMismatch when the size, or the digest where one is given, is another.
        """
        self._write(tar_header.header(tar_header.FILE, name, size=size))
        hasher = digest.hasher() if digest else None
        got = 0
        for piece in pieces:
            got += len(piece)
            goes_on(len(piece))
            if got > size:
                break
            if hasher is not None:
                hasher.update(piece)
            self._write(piece)
        if got != size or (hasher is not None and digest is not None and hasher.hexdigest() != digest.hex):
            raise DigestMismatch(
                f"{digest or name} is damaged", digest=str(digest or ""), advice="get the archive anew"
            )
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
        self._names.forget(self._path)
        if self._sync:
            self._disk.sync(self._target.parent)
        return self._size

    def _write(self, data: bytes | memoryview) -> None:
        if self._file is None:
            self._file = self._disk.create(self._path)
        self._disk.write(self._file, memoryview(data), self._path)
        self._size += len(data)
