"""Where the blobs come from that are pushed: read in place, or out of a spool for an archive without index."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import closing
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.errors import ArchiveError, ContentError, HangarError, StorageError
from hangar_async.layout.directory import FileReader
from hangar_async.layout.files import blob_name
from hangar_async.layout.protocols import LayoutFile, Reader, SeekableLayout
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.threads import Interrupt, in_thread

#: What is read and sent at once.
_PIECE = 512 << 10


class LayoutBlobs:
    """Blobs of holdings any of which can be read by itself; nothing is unpacked."""

    def __init__(self, layout: SeekableLayout) -> None:
        self._layout = layout

    async def read(self, blob: Descriptor, start: int) -> AsyncIterator[memoryview]:
        """Read a blob from byte `start` on; each piece is good until the next one is asked for."""
        async for piece in read_pieces(lambda: self._layout.open(blob_name(blob.digest), start)):
            yield piece

    async def damage(self, blob: Descriptor) -> str:
        """Say what is wrong with a blob here, "" where nothing is."""
        interrupt = Interrupt()
        return await interrupt.in_thread(self._damage, blob, interrupt)

    def _damage(self, blob: Descriptor, goes_on: Callable[[], None]) -> str:
        hasher, buffer = blob.digest.hasher(), memoryview(bytearray(_PIECE))
        try:
            with closing(self._layout.open(blob_name(blob.digest))) as reader:
                while count := reader.readinto(buffer):
                    goes_on()
                    hasher.update(buffer[:count])
        except (ArchiveError, StorageError) as error:
            return str(error)
        return "" if hasher.hexdigest() == blob.digest.hex else f"{blob.digest} is damaged here"


class SpooledBlobs:
    """Blobs of an archive without index, each for the time in which it lies in the directory `spool`."""

    def __init__(self, spool: Path, disk: Disk) -> None:
        self._spool = spool
        self._disk = disk
        self._broken: dict[Digest, HangarError] = {}

    def take_in(self, file: LayoutFile, digest: Digest, goes_on: Callable[[], None]) -> None:
        """Put a file of the archive into the spool, hashing it; what is wrong with it is told to who reads it.

        Synchronous, for a thread. Raises ArchiveError where the archive cannot be read on, StorageError.
        """
        path = self._path(digest)
        hasher = digest.hasher()
        descriptor = self._disk.create(path)
        try:
            for piece in file.pieces:
                goes_on()
                hasher.update(piece)
                self._disk.write(descriptor, piece, path)
        finally:
            self._disk.close(descriptor, path)
        if hasher.hexdigest() != digest.hex:
            self.miss(digest, ContentError(f"{digest} is damaged here", digest=str(digest), advice=_ADVICE))

    def miss(self, digest: Digest, error: HangarError) -> None:
        """Let whoever reads this blob have an error."""
        self._broken[digest] = error

    async def forget(self, digest: Digest) -> None:
        """Remove a blob from the spool; raises StorageError."""
        await in_thread(self._disk.remove, self._path(digest))

    async def read(self, blob: Descriptor, start: int) -> AsyncIterator[memoryview]:
        """Read a blob from byte `start` on; each piece is good until the next one is asked for."""
        if error := self._broken.get(blob.digest):
            raise error
        async for piece in read_pieces(lambda: FileReader(self._path(blob.digest), start)):
            yield piece

    async def damage(self, blob: Descriptor) -> str:
        """It was hashed when it came in."""
        return ""

    def _path(self, digest: Digest) -> Path:
        return self._spool / f"{digest.algorithm}-{digest.hex}"


_ADVICE = "get the archive anew; verify names all that is damaged"


async def read_pieces(open_reader: Callable[[], Reader]) -> AsyncIterator[memoryview]:
    """Read to the end, in threads; each piece is good until the next one is asked for."""
    reader = await in_thread(open_reader)
    try:
        buffer = memoryview(bytearray(_PIECE))
        while count := await in_thread(reader.readinto, buffer):
            yield buffer[:count]
    finally:
        await in_thread(reader.close)
