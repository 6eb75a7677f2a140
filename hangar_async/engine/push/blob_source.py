"""The source of the blobs that are pushed: a layout, read in place."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Protocol

from hangar_async.errors import ArchiveError, DigestMismatch, StorageError
from hangar_async.layout.files import blob_name
from hangar_async.layout.protocols import LayoutReader, SeekableLayout
from hangar_async.oci.integrity import AsyncPieces, read_pieces, verified
from hangar_async.oci.manifest import Descriptor
from hangar_async.threads import Interrupt, in_thread

#: Blobs are read and sent in pieces of this many bytes.
_PIECE = 512 << 10
#: The advice for a damaged blob.
ADVICE = "get the archive again; verify names everything that is damaged"


class BlobSource(Protocol):
    """A source of the blobs that are pushed."""

    def read(self, blob: Descriptor, start: int) -> AsyncPieces:
        """Read a blob from byte `start` on, in pieces of about 0.5 MiB."""
        ...

    async def damage(self, blob: Descriptor) -> str:
        """Return the damage of a blob at the source, "" for none."""
        ...


class LayoutBlobs:
    """The blobs of a layout that can open any of them; nothing is unpacked."""

    def __init__(self, layout: SeekableLayout) -> None:
        self._layout = layout

    async def read(self, blob: Descriptor, start: int) -> AsyncPieces:
        """Read a blob from byte `start` on; each piece is valid until the next one is asked for."""
        async for piece in read_in_thread(lambda: self._layout.open(blob_name(blob.digest), start)):
            yield piece

    async def damage(self, blob: Descriptor) -> str:
        """Hash a blob, and return its damage, "" for none."""
        interrupt = Interrupt()
        return await interrupt.in_thread(self._damage, blob, interrupt)

    def _damage(self, blob: Descriptor, check_interrupted: Callable[[], None]) -> str:
        try:
            with closing(self._layout.open(blob_name(blob.digest))) as reader:
                pieces = read_pieces(reader, memoryview(bytearray(_PIECE)))
                for _ in verified(pieces, blob.digest, None):
                    check_interrupted()
        except DigestMismatch:
            return f"{blob.digest} is damaged here"
        except (ArchiveError, StorageError) as error:
            return str(error)
        return ""


async def read_in_thread(open_reader: Callable[[], LayoutReader]) -> AsyncPieces:
    """Read to the end, in threads; each piece is valid until the next one is asked for."""
    reader = await in_thread(open_reader)
    try:
        buffer = memoryview(bytearray(_PIECE))
        while count := await in_thread(reader.readinto, buffer):
            yield buffer[:count]
    finally:
        await in_thread(reader.close)
