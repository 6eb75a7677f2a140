"""Ingests: content on its way into the store."""

from __future__ import annotations

from pathlib import Path

from hangar_async.blocking import in_thread
from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest, Hasher


class Ingest:
    """A blob that arrives: hashed and written piece by piece, and renamed into place when it is right.

    Made by `ContentStore.ingest`, which closes it; what is not committed by then is removed.
    """

    def __init__(self, disk: Disk, partial: Path, target: Path, digest: Digest, size: int) -> None:
        self._disk = disk
        self._partial = partial
        self._target = target
        self._digest = digest
        self._size = size
        self._hasher: Hasher = digest.hasher()
        self._file: int | None = None
        #: How many bytes it holds.
        self.offset = 0
        self.committed = False

    async def write(self, piece: bytes | memoryview) -> None:
        """Append a piece, about 1 MiB; raises StorageError, and DigestMismatch for more bytes than declared."""
        if self.offset + len(piece) > self._size:
            raise DigestMismatch(
                f"{self._digest} is larger than the {self._size} bytes declared", digest=str(self._digest)
            )
        await in_thread(self._append, piece)

    async def restart(self) -> None:
        """Forget all bytes, to begin again at 0."""
        await in_thread(self._reset)

    async def commit(self) -> None:
        """Check size and digest and put the blob into the store.

        Raises DigestMismatch (and forgets all bytes, so that another try can begin), StorageError.
        """
        found = f"{self._digest.algorithm}:{self._hasher.hexdigest()}"
        if self.offset != self._size or found != str(self._digest):
            got = f"{self.offset} bytes of digest {found}"
            await self.restart()
            raise DigestMismatch(f"asked for {self._digest} of {self._size} bytes, got {got}", digest=str(self._digest))
        await in_thread(self._place)
        self.committed = True

    async def close(self) -> None:
        """Close the file and remove what was not committed; may be called again."""
        if not self.committed:
            await in_thread(self._close)

    def _open(self) -> int:
        if self._file is None:
            self._file = self._disk.create(self._partial)
        return self._file

    def _append(self, piece: bytes | memoryview) -> None:
        self._disk.write(self._open(), piece, self._partial)
        self._hasher.update(piece)
        self.offset += len(piece)

    def _reset(self) -> None:
        self._hasher = self._digest.hasher()
        self.offset = 0
        if self._file is not None:
            self._disk.truncate(self._file, self._partial)

    def _place(self) -> None:
        file, self._file = self._open(), None
        self._disk.close(file, self._partial)
        self._disk.make_directory(self._target.parent)
        self._disk.rename(self._partial, self._target)

    def _close(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                self._disk.close(file, self._partial)
        finally:
            self._disk.remove(self._partial)
