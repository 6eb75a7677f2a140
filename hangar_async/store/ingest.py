"""Ingests: blobs that are written into the store."""

import os
from pathlib import Path

from hangar_async.disk import Disk, Failing
from hangar_async.errors import DigestMismatch
from hangar_async.oci import PIECE, Digest, Verifier
from hangar_async.threads import in_thread

#: The bytes after which the disk is told to take what was written, where the output is synced.
_WRITE_BACK_EVERY = 8 << 20


class Ingest:
    """A blob that is hashed and written piece by piece, and renamed into place when its digest is right.

    Made by `ContentStore.ingest`, which opens and closes it. Bytes that are not committed by then stay as a partial
    file, with which the next ingest of the digest begins, in this run or a later one.
    """

    def __init__(
        self, disk: Disk, partial: Path, target: Path, digest: Digest, size: int, *, write_back: bool = False
    ) -> None:
        self._disk = disk
        self._partial = partial
        self._target = target
        self._digest = digest
        self._size = size
        self._verifier = Verifier(digest, size)
        self._file: int | None = None
        self._write_back = write_back
        #: The last piece, which `commit` writes.
        self._last = b""
        #: All bytes, where they came as one piece that stays as it is.
        self.whole = b""
        #: The number of bytes from an earlier ingest, which may have been damaged since.
        self.resumed = 0
        #: The most bytes that it ever had.
        self.highest = 0
        self.committed = False

    @property
    def offset(self) -> int:
        """The number of bytes so far."""
        return self._verifier.count + len(self._last)

    async def resume(self) -> None:
        """Hash the bytes of an earlier ingest, to continue after them; raises StorageError."""
        if not await in_thread(self._reopen):
            return
        buffer = memoryview(bytearray(PIECE))
        while await in_thread(self._hash, buffer):
            pass
        self.resumed = self.highest = self.offset

    async def write(self, piece: bytes | memoryview) -> None:
        """Append a piece, about 1 MiB; the last one, of bytes that stay as they are, is written with the commit.

        Raises StorageError, and DigestMismatch for more bytes than declared (and forgets all).
        """
        if isinstance(piece, bytes) and piece and self.offset + len(piece) == self._size:
            self._last, self.whole = piece, b"" if self.offset else piece
            self.highest = max(self.highest, self.offset)
            return
        try:
            await in_thread(self._append, piece)
        except DigestMismatch:
            await self.restart()
            raise

    async def restart(self) -> None:
        """Forget all bytes, to begin again at 0."""
        if self.offset:
            await in_thread(self._reset)

    async def commit(self) -> None:
        """Check size and digest and put the blob into the store.

        Raises DigestMismatch (and forgets all bytes, so that another try can begin), StorageError.
        """
        if not await in_thread(self._place):
            received, resumed = f"{self.offset} bytes of digest {self._verifier.digest}", self.resumed
            await self.restart()
            message = f"asked for {self._digest} of {self._size} bytes, got {received}"
            if resumed:
                message += f"; {resumed} of them were of an earlier run, so all are fetched again"
            raise DigestMismatch(message, digest=str(self._digest), stale=resumed > 0)
        self.committed = True

    async def close(self) -> None:
        """Close the file; one that is not committed stays, unless it is empty. May be called again."""
        if not self.committed:
            await in_thread(self._close)

    def _reopen(self) -> bool:
        """Open the partial file, if one exists; remove one that cannot be the beginning of the blob."""
        self._file = self._disk.reopen(self._partial)
        if self._file is None:
            return False
        if 0 < os.fstat(self._file).st_size <= self._size:
            return True
        self._release()
        return False

    def _hash(self, buffer: memoryview) -> int:
        assert self._file is not None  # noqa: S101 - it was opened
        with Failing("read", self._partial):
            count = os.readv(self._file, [buffer])
        self._verifier.update(buffer[:count])
        return count

    def _open(self) -> int:
        if self._file is None:
            self._file = self._disk.create(self._partial)
        return self._file

    def _append(self, piece: bytes | memoryview) -> None:
        self._append_last()
        with self._disk.times.hashing.timed():
            self._verifier.update(piece)
        file = self._open()
        self._disk.write(file, piece, self._partial)
        self.highest = max(self.highest, self.offset)
        count = self._verifier.count
        is_due = count // _WRITE_BACK_EVERY > (count - len(piece)) // _WRITE_BACK_EVERY
        if self._write_back and (is_due or count == self._size > PIECE):
            self._disk.write_back(file)

    def _reset(self) -> None:
        self._verifier, self.resumed = Verifier(self._digest, self._size), 0
        self._last = self.whole = b""
        if self._file is not None:
            self._disk.truncate(self._file, self._partial)

    def _append_last(self) -> None:
        last, self._last = self._last, b""
        if last:
            self._append(last)

    def _place(self) -> bool:
        """Write the last piece and give the blob its name; False where its digest or size is another one."""
        self._append_last()
        if not self._verifier.matches:
            return False
        file, self._file = self._open(), None
        self._disk.close(file, self._partial)
        if self._digest.algorithm != "sha256":  # whose directory is made with the store
            self._disk.make_directory(self._target.parent)
        self._disk.rename(self._partial, self._target)
        return True

    def _close(self) -> None:
        try:
            self._append_last()
        finally:
            self._release()

    def _release(self) -> None:
        file, self._file = self._file, None
        try:
            if file is not None:
                self._disk.close(file, self._partial)
        finally:
            if not self.offset:
                self._disk.remove(self._partial)
