"""The index of an archive, and the footer with its position; values to bytes."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated, Self

import msgspec

from hangar_async.archive.entries import ArchiveEntry, Encoding, PackedEntries
from hangar_async.archive.formats import DEFLATE_PIECE, FOOTER_SIZE, GZIP, ZSTD
from hangar_async.archive.names import ARCHIVE_INDEX, PREFIX, is_file_name
from hangar_async.layout.files import named_digest
from hangar_async.oci import Digest, decode_json

VERSION = 1
#: The most bytes of an index, enough for two million files: 100,000 images of ten layers each.
MAX_INDEX = 512 << 20
#: The bytes that the index of an archive of any size may have; beyond, it may have twice those of the archive's data.
_SMALL_INDEX = 64 << 20
_INDEX_RATIO = 2
#: Each file has six values in an index, and more than 200 bytes; a piece has fewer, and a MiB of content.
_BYTES_A_VALUE = 32
#: The values of an entry, but for its pieces; and the bytes of one of these, since DEFLATE makes no MiB from fewer.
_ENTRY_VALUES = 64
_BYTES_A_PIECE = 1000
_ENCODINGS: dict[str, tuple[Encoding, ...]] = {GZIP: ("stored", "deflate"), ZSTD: ("zstd",)}
_FOOTER = struct.Struct("<8sQQ")
_MAGIC = b"HGRSEEK1"


@dataclass(frozen=True, slots=True)
class Footer:
    """The position of the data of the index in the compressed stream: offset and length in bytes."""

    offset: int
    length: int

    @classmethod
    def of(cls, payload: bytes) -> Self | None:
        """Read the 24 bytes; None for any other bytes."""
        if len(payload) != FOOTER_SIZE or not payload.startswith(_MAGIC):
            return None
        return cls(*_FOOTER.unpack(payload)[1:])

    def payload(self) -> bytes:
        """Return the 24 bytes, which follow the end of the tar."""
        return _FOOTER.pack(_MAGIC, self.offset, self.length)


@dataclass(frozen=True, slots=True)
class ArchiveIndex:
    """The content of `archive-index.json`: the format, and all other regular files in the order of the tar."""

    compression: str
    entries: PackedEntries


_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _IndexEntryJson(msgspec.Struct):
    name: str
    digest: str
    size: _Count
    offset: _Count
    length: _Count
    encoding: Encoding
    pieces: tuple[_Count, ...] | msgspec.UnsetType = msgspec.UNSET


class _IndexJson(msgspec.Struct):
    version: int
    compression: str
    #: Decoded one after the other: a million at once would take twice the memory.
    entries: list[msgspec.Raw]


_PIECES = "pieces"
_KEYS = tuple(key for key in _IndexEntryJson.__struct_fields__ if key != _PIECES)
_to_json = json.JSONEncoder(default=str).encode
_SEPARATOR = b",\n"
_END = b"\n]}\n"


class IndexEncoder:
    """Makes the content of `archive-index.json` while entries are added, a line for each; `write` takes its bytes."""

    def __init__(self, compression: str, write: Callable[[bytes], None]) -> None:
        start = f'{{"version": {VERSION}, "compression": {json.dumps(compression)}, "entries": [\n'.encode()
        write(start)
        self._write = write
        self._separator = b""
        self._commas = start.count(b",")
        #: The number of bytes of the content so far.
        self.size = len(start) + len(_END)

    def add(self, entry: ArchiveEntry) -> None:
        """Append the line of an entry."""
        pieces = {_PIECES: entry.pieces} if entry.pieces else {}
        line = self._separator + _to_json({key: getattr(entry, key) for key in _KEYS} | pieces).encode()
        self.size += len(line)
        self._commas += line.count(b",")
        self._write(line)
        self._separator = _SEPARATOR

    def fits(self, end: int) -> bool:
        """Tell whether a reader takes so much as an index whose data begin at offset `end` of the stream."""
        return self.size <= most_bytes(end) and self._commas < _most_values(end)

    def end(self) -> None:
        """Append the end."""
        self._write(_END)


def most_bytes(end: int) -> int:
    """Return the most bytes that an index may have whose data begin at offset `end` of the stream.

    A reader refuses more, so that a small archive cannot make it take much memory, and a writer makes no more.
    """
    return min(MAX_INDEX, max(_SMALL_INDEX, _INDEX_RATIO * end))


def _most_values(end: int) -> int:
    return most_bytes(end) // _BYTES_A_VALUE


def decode(data: bytes | bytearray, end: int) -> ArchiveIndex:
    """Read the content of `archive-index.json`; `end` is the offset of its own data in the stream.

    Raises ValueError for an index that no writer of the format writes: other names, one name twice, a blob under the
    name of another digest, data that overlap or exceed `end`, pieces of another number or outside of the data.
    """
    document = decode_json(data, _IndexJson, _most_values(end))
    if document.version != VERSION or document.compression not in _ENCODINGS:
        raise ValueError(f"version {document.version} of {document.compression[:100]!r} is not known")
    encodings = _ENCODINGS[document.compression]
    entries = PackedEntries()
    position = 0
    for raw in document.entries:
        item = decode_json(bytes(raw), _IndexEntryJson, _ENTRY_VALUES + end // _BYTES_A_PIECE)
        if entries.find(item.name) is not None or not is_file_name(item.name) or item.name == ARCHIVE_INDEX:
            raise ValueError(f"{item.name[:200]!r} is there twice, or is no name of this format")
        if item.encoding not in encodings or not position <= item.offset <= item.offset + item.length <= end:
            raise ValueError(f"{item.name} has an impossible position")
        digest = Digest.parse(item.digest)
        if named_digest(item.name.removeprefix(PREFIX)) not in (None, digest):
            raise ValueError(f"{item.name} has the digest of another blob")
        position = item.offset + item.length
        entries.append(
            ArchiveEntry(item.name, digest, item.size, item.offset, item.length, item.encoding, _pieces(item))
        )
    return ArchiveIndex(document.compression, entries)


def _pieces(item: _IndexEntryJson) -> tuple[int, ...]:
    """Return the pieces of an entry; raises ValueError for positions that no file can have."""
    if item.pieces is msgspec.UNSET:
        return ()
    right = item.encoding == "deflate" and len(item.pieces) == (item.size - 1) // DEFLATE_PIECE
    if not right or not all(start < end for start, end in pairwise((0, *item.pieces, item.length))):
        raise ValueError(f"{item.name} has pieces at impossible positions")
    return item.pieces
