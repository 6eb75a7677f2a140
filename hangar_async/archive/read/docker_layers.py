"""The layers of a docker-archive as they are pushed: read, hashed, compressed where they are plain tars, and kept."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import zstandard

from hangar_async import oci
from hangar_async.archive import formats
from hangar_async.archive.read.decode import ERRORS, MAX_WINDOW, frames, members
from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.temporary import TemporaryFiles

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_LAYER = "application/vnd.oci.image.layer.v1.tar"
#: The bytes of layers that are kept on the disk at the same time.
MOST_KEPT = 1 << 30
#: So many times its bytes may come out of a compressed layer that is compared with its digest: DEFLATE has no more.
_MOST_RATIO = 1_100
#: The bytes of the longest header of a zstd frame (RFC 8878, 3.1.1).
_LONGEST_HEADER = 18
#: The bytes that may come out of any.
_SMALL = 16 << 20


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer as it is pushed.

    `diff_id` is the digest of its tar: "" where its compression is damaged, None where it was not computed. One that is
    `packed` is a plain tar in the archive. `kept` is the file that has it.
    """

    descriptor: oci.Descriptor
    diff_id: str | None
    packed: bool
    kept: Path | None = None


def read_layer(
    pieces: oci.Pieces,
    check_interrupted: Callable[[], None],
    store: LayerStore | None = None,
    *,
    keep_all: bool = False,
) -> Layer:
    """Read a layer: one that is compressed stays as it is, any other is compressed, and kept in the store.

    With `keep_all` one that is compressed is kept too. Raises ArchiveError and StorageError.
    """
    first = b""
    while len(first) < _LONGEST_HEADER and (piece := next(pieces, None)) is not None:
        first += bytes(piece)
    compression = next((name for magic, name in formats.MAGIC.items() if first.startswith(magic)), None)
    tar, blob, kept = hashlib.sha256(), hashlib.sha256(), list[Path]()
    pieces = _hashed(chain([first], pieces), blob if compression else tar)
    if not compression:
        pieces = _hashed(formats.gzip_pieces(pieces), blob)
    if store is not None and (keep_all or not compression):
        pieces = store.keeping(pieces, kept)
    reader = PieceReader(_checked(pieces, check_interrupted))
    diff_id = _unpacked_digest(reader, first, compression, check_interrupted) if compression else None
    reader.drain()
    digest = oci.Digest("sha256", blob.hexdigest())
    descriptor = oci.Descriptor(f"{_LAYER}+{compression or formats.GZIP}", digest, reader.count)
    return Layer(descriptor, diff_id if compression else f"sha256:{tar.hexdigest()}", not compression, *kept)


def _checked(pieces: oci.Pieces, check_interrupted: Callable[[], None]) -> oci.Pieces:
    for piece in pieces:
        check_interrupted()
        yield piece


def _hashed(pieces: Iterable[oci.Piece], digest: hashlib._Hash) -> oci.Pieces:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _unpacked_digest(
    reader: PieceReader, first: bytes, compression: str, check_interrupted: Callable[[], None]
) -> str | None:
    """Return the digest of what is compressed, "" where it is damaged, None where it would take too much."""
    digest, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(oci.PIECE))
    try:
        if compression == formats.ZSTD and zstandard.get_frame_parameters(first).window_size > MAX_WINDOW:
            return None
        decoder = frames(reader) if compression == formats.ZSTD else members(reader)
        while count := decoder.readinto(buffer):
            check_interrupted()
            formats.relax()
            digest.update(buffer[:count])
            size += count
            if size > max(_SMALL, reader.count * _MOST_RATIO):
                return None
    except ERRORS:
        return ""
    return f"sha256:{digest.hexdigest()}"


class PieceReader(io.RawIOBase):
    """Pieces as a file, from byte `start` on; `count` of their bytes have come."""

    def __init__(self, pieces: oci.Pieces, start: int = 0) -> None:
        super().__init__()
        self._pieces = pieces
        self._piece = memoryview(b"")
        self._skip = start
        self.count = 0

    def readable(self) -> bool:
        """Tell whether it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a part of a buffer; 0 at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self.count += len(piece)
            self._piece = memoryview(piece)[self._skip :]
            self._skip = max(0, self._skip - len(piece))
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._piece))
        view[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def drain(self) -> None:
        """Let all pieces come, and drop them."""
        self._piece = memoryview(b"")
        for piece in self._pieces:
            self.count += len(piece)


class LayerStore:
    """Keeps layers as they are pushed in a directory, so that each is compressed once; any number of threads use it.

    `most` bytes are kept in all. A layer that has no room, or that the disk does not take, is not kept, and is
    compressed again when it is read. The directory is made below `parent` when the first layer comes.
    """

    def __init__(self, parent: Path, disk: Disk, most: int = MOST_KEPT) -> None:
        self._target = parent / "layers"
        self._disk = disk
        self._left = most
        self._files: TemporaryFiles | None = None
        self._directory: Path | None = None
        self._count = 0
        self._lock = threading.Lock()

    def keeping(self, pieces: oci.Pieces, kept: list[Path]) -> oci.Pieces:
        """Yield pieces, and write them to a file, whose path is added to `kept` when it is whole."""
        path, descriptor = self._new_file()
        size = 0
        try:
            for piece in pieces:
                if descriptor is not None:
                    if self._write(descriptor, piece, path):
                        size += len(piece)
                    else:
                        self._drop(descriptor, path, size)
                        descriptor = None
                yield piece
            if descriptor is not None:
                with suppress(StorageError):
                    self._disk.close(descriptor, path)
                    kept.append(path)
                descriptor = None
        finally:
            if descriptor is not None:
                self._drop(descriptor, path, size)

    def forget(self, layer: Layer) -> None:
        """Remove the file of a layer that was kept."""
        if layer.kept is not None:
            with self._lock:
                self._left += layer.descriptor.size
            with suppress(StorageError):
                self._disk.remove(layer.kept)

    def close(self) -> None:
        """Remove all files; raises StorageError. May be called again."""
        if self._files is not None:
            self._files.close()

    def _new_file(self) -> tuple[Path, int | None]:
        with self._lock:
            self._count += 1
            name = str(self._count)
            try:
                if self._directory is None:
                    self._files = self._files or TemporaryFiles(self._target, self._disk)
                    directory = self._files.new()
                    self._disk.make_directory(directory, 0o700)
                    self._directory = directory
                path = self._directory / name
                return path, self._disk.create(path)
            except StorageError:
                return self._target / name, None

    def _write(self, descriptor: int, piece: oci.Piece, path: Path) -> bool:
        with self._lock:
            if len(piece) > self._left:
                return False
            self._left -= len(piece)
        try:
            self._disk.write(descriptor, piece, path)
        except StorageError:
            with self._lock:
                self._left += len(piece)
            return False
        return True

    def _drop(self, descriptor: int, path: Path, size: int) -> None:
        """Remove a file of `size` bytes that is not whole."""
        with self._lock:
            self._left += size
        self._disk.release(descriptor)
        with suppress(StorageError):
            self._disk.remove(path)
