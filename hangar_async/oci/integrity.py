"""Checks of content against its digest and size, in one place; and the types of its bytes.

The bytes of a blob have three interfaces: a `Reader`, pieces, and asynchronous pieces from a given byte on.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from typing import Protocol, TypeAlias

from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest

#: The number of bytes of a buffer that content on this machine is read into.
PIECE = 1 << 20
#: Some bytes of a blob, valid until the next piece is read.
Piece: TypeAlias = bytes | memoryview
Pieces: TypeAlias = Iterator[Piece]
AsyncPieces: TypeAlias = AsyncIterator[Piece]
#: Opens a blob at a byte, and returns the pieces from there to its end; it may be called again.
OpenPieces: TypeAlias = Callable[[int], AsyncPieces]


class Reader(Protocol):
    """The bytes of a blob, read in one thread at a time."""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it, and return the number of bytes; 0 at the end."""
        ...


class Verifier:
    """Checks content piece by piece: no more bytes than `size`, and `digest` at the end.

    None for one of them skips its check. `name` and `advice` are for the DigestMismatch.
    """

    def __init__(self, digest: Digest | None, size: int | None, name: str = "", advice: str | None = None) -> None:
        self._digest = digest
        self._size = size
        self._name = name or str(digest)
        self._advice = advice
        self._hasher = None if digest is None else digest.hasher()
        #: The number of bytes so far.
        self.count = 0

    def update(self, piece: Piece) -> None:
        """Hash a piece; raises DigestMismatch for more bytes than declared."""
        self.count += len(piece)
        if self._size is not None and self.count > self._size:
            raise self._mismatch(f"is larger than the {self._size} bytes declared")
        if self._hasher is not None:
            self._hasher.update(piece)

    @property
    def digest(self) -> Digest | None:
        """The digest of all bytes so far, None where none is expected."""
        if self._digest is None or self._hasher is None:
            return None
        return Digest(self._digest.algorithm, self._hasher.hexdigest())

    @property
    def matches(self) -> bool:
        """True when all bytes so far are the expected content."""
        return self._size in (None, self.count) and self.digest == self._digest

    def finish(self) -> None:
        """Raise DigestMismatch unless all bytes so far are the expected content."""
        if self._size not in (None, self.count):
            raise self._mismatch(f"has {self.count} bytes instead of {self._size}")
        if not self.matches:
            raise self._mismatch(f"is damaged: its bytes have the digest {self.digest}")

    def _mismatch(self, text: str) -> DigestMismatch:
        digest = "" if self._digest is None else str(self._digest)
        return DigestMismatch(f"{self._name} {text}", digest=digest, advice=self._advice)


def verified(
    pieces: Iterable[Piece], digest: Digest | None, size: int | None, name: str = "", advice: str | None = None
) -> Pieces:
    """Yield pieces unchanged, and check the digest and the size in bytes of all of them.

    Raises DigestMismatch: before a piece that exceeds the size, and after the last piece. See `Verifier`.
    """
    verifier = Verifier(digest, size, name, advice)
    for piece in pieces:
        verifier.update(piece)
        yield piece
    verifier.finish()


def read_pieces(reader: Reader, buffer: memoryview) -> Iterator[memoryview]:
    """Read to the end into one buffer; each piece is valid until the next one."""
    while count := reader.readinto(buffer):
        yield buffer[:count]
