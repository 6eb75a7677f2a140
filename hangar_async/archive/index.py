"""The index of an archive, and the footer with its position; values to bytes."""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal, Self

import msgspec

from hangar_async.archive.formats import FOOTER_SIZE, GZIP, ZSTD
from hangar_async.archive.names import ARCHIVE_INDEX, PREFIX, is_file_name
from hangar_async.layout.files import named_digest
from hangar_async.oci import Digest, decode_json

VERSION = 1
#: The most bytes of an index, enough for 300,000 files.
MAX_INDEX = 64 << 20
# Six for each file: more than a right index of that size can have.
_MAX_VALUES = 1 << 21
Encoding = Literal["stored", "deflate", "zstd"]
_ENCODINGS: dict[str, tuple[Encoding, ...]] = {GZIP: ("stored", "deflate"), ZSTD: ("zstd",)}
_FOOTER = struct.Struct("<8sQQ")
_MAGIC = b"HGRSEEK1"


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One regular file of the tar: `length` bytes at `offset` of the compressed stream hold its `size` bytes."""

    name: str
    digest: Digest
    size: int
    offset: int
    length: int
    encoding: Encoding


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
    entries: tuple[ArchiveEntry, ...]


_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _IndexEntryJson(msgspec.Struct):
    name: str
    digest: str
    size: _Count
    offset: _Count
    length: _Count
    encoding: Encoding


class _IndexJson(msgspec.Struct):
    version: int
    compression: str
    entries: list[_IndexEntryJson]


def encode(compression: str, entries: Iterable[ArchiveEntry]) -> bytes:
    """Return the content of `archive-index.json`, a line for each entry."""
    keys = _IndexEntryJson.__struct_fields__
    to_json = json.JSONEncoder(default=str).encode
    lines = ",\n".join(to_json({key: getattr(entry, key) for key in keys}) for entry in entries)
    return f'{{"version": {VERSION}, "compression": {json.dumps(compression)}, "entries": [\n{lines}\n]}}\n'.encode()


def decode(data: bytes | bytearray, end: int) -> ArchiveIndex:
    """Read the content of `archive-index.json`; `end` is the offset of its own data in the stream.

    Raises ValueError for an index that no writer of the format writes: other names, one name twice, a blob under the
    name of another digest, data that overlap or exceed `end`.
    """
    document = decode_json(data, _IndexJson, _MAX_VALUES)
    if document.version != VERSION or document.compression not in _ENCODINGS:
        raise ValueError(f"version {document.version} of {document.compression[:100]!r} is not known")
    encodings = _ENCODINGS[document.compression]
    entries: dict[str, ArchiveEntry] = {}
    position = 0
    for item in document.entries:
        if item.name in entries or not is_file_name(item.name) or item.name == ARCHIVE_INDEX:
            raise ValueError(f"{item.name[:200]!r} is there twice, or is no name of this format")
        if item.encoding not in encodings or not position <= item.offset <= item.offset + item.length <= end:
            raise ValueError(f"{item.name} has an impossible position")
        digest = Digest.parse(item.digest)
        if named_digest(item.name.removeprefix(PREFIX)) not in (None, digest):
            raise ValueError(f"{item.name} has the digest of another blob")
        position = item.offset + item.length
        entries[item.name] = ArchiveEntry(item.name, digest, item.size, item.offset, item.length, item.encoding)
    return ArchiveIndex(document.compression, tuple(entries.values()))
