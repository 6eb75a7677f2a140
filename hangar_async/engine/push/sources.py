"""The sources of blobs that are pushed: the interface, and layouts whose blobs are read in place."""

from collections.abc import AsyncGenerator, Callable
from contextlib import ExitStack, closing
from typing import Protocol, TypeAlias

from hangar_async.buffers import SIZES, PieceBuffers
from hangar_async.errors import ArchiveError, DigestMismatch, HangarError, StorageError
from hangar_async.layout.files import LayoutReader, SeekableLayout, blob_name
from hangar_async.oci import Descriptor, Piece, read_pieces, verified
from hangar_async.threads import Interrupt, in_thread

#: The bytes of a blob; a caller that does not read them to their end closes them.
Pieces: TypeAlias = AsyncGenerator[Piece, None]
#: Opens a blob at a byte.
OpenPieces: TypeAlias = Callable[[int], Pieces]
#: Blobs are hashed in pieces of this many bytes.
_PIECE = SIZES[0]
#: The advice for a damaged blob of an archive.
ADVICE = "get the archive again; verify names everything that is damaged"


class BlobSource(Protocol):
    """A source of the blobs that are pushed; `advice` says what to do about a damaged one."""

    advice: str

    def read(self, blob: Descriptor, start: int) -> Pieces:
        """Read a blob from byte `start` on, in pieces of at most 0.5 MiB; the caller closes them."""
        ...

    async def damage(self, blob: Descriptor) -> str:
        """Return the damage of a blob at the source, "" for none."""
        ...

    def host(self, blob: Descriptor) -> str:
        """Return the host that a blob is read from, "" for none."""
        ...

    def give_up(self, blob: Descriptor, error: HangarError, target: str) -> bool:
        """Leave out the source of a blob for an error of its own; tell whether another one is left."""
        ...


class LayoutBlobs:
    """The blobs of a layout that can open any of them; nothing is unpacked."""

    advice = "get it again; verify names everything that is damaged"

    def __init__(self, layout: SeekableLayout) -> None:
        self._layout = layout
        self._buffers = PieceBuffers()

    def read(self, blob: Descriptor, start: int) -> Pieces:
        """Read a blob from byte `start` on; each piece is valid until the next one is asked for."""
        return read_in_thread(lambda: self._layout.open(blob_name(blob.digest), start), self._buffers)

    async def damage(self, blob: Descriptor) -> str:
        """Hash a blob, and return its damage, "" for none."""
        interrupt = Interrupt()
        return await interrupt.in_thread(self._damage, blob, interrupt)

    def host(self, blob: Descriptor) -> str:
        """Return "": a layout is here."""
        return ""

    def give_up(self, blob: Descriptor, error: HangarError, target: str) -> bool:
        """Return False: there is no other layout."""
        return False

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


async def read_in_thread(open_reader: Callable[[], LayoutReader], buffers: PieceBuffers) -> Pieces:
    """Read to the end, in threads; each piece is valid until the next one is asked for.

    A thread fills the buffer, and opens and closes the reader too: a small blob needs one.
    """
    # The reader is on the stack before the thread ends: a cancellation here must close it too.
    stack, buffer = ExitStack(), buffers.take()
    view, readers = memoryview(buffer), list[LayoutReader]()

    def read() -> int:
        if not readers:
            readers.append(stack.enter_context(closing(open_reader())))
        filled = 0
        while filled < len(view) and (count := readers[0].readinto(view[filled:])):
            filled += count
        if filled < len(view):
            stack.close()
        return filled

    count = len(view)
    try:
        while count == len(view) and (count := await in_thread(read)):
            yield view[:count]
    finally:
        if count == len(view):
            await in_thread(stack.close)
        buffers.give(buffer)
