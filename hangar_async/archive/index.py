"""The index of an archive, and the footer that says where it is; values to bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec

from hangar_async.archive.names import ARCHIVE_INDEX, blob_digest, is_file_name
from hangar_async.oci.digest import Digest
from hangar_async.oci.strict_json import decode as decode_document

VERSION = 1
Encoding = Literal["stored", "deflate", "zstd"]
_ENCODINGS: dict[str, tuple[Encoding, ...]] = {"gzip": ("stored", "deflate"), "zstd": ("zstd",)}
# Six for each file: more than an index of 64 MiB can have that is right.
_MOST_VALUES = 1 << 21
_FOOTER = struct.Struct("<8sQQ")
MAGIC = b"HGRSEEK1"


@dataclass(frozen=True, slots=True)
class Entry:
    """One regular file of the tar: `length` bytes at `offset` of the compressed stream hold its `size` bytes."""

    name: str
    digest: Digest
    size: int
    offset: int
    length: int
    encoding: Encoding


@dataclass(frozen=True, slots=True)
class Footer:
    """Where in the compressed stream the data of the index are: offset and length in bytes."""

    offset: int
    length: int

    @classmethod
    def of(cls, payload: bytes) -> Footer | None:
        """Read the 24 bytes; None where they are something else."""
        if len(payload) != _FOOTER.size or not payload.startswith(MAGIC):
            return None
        return cls(*_FOOTER.unpack(payload)[1:])

    def payload(self) -> bytes:
        """Return the 24 bytes that stand behind the end of the tar."""
        return _FOOTER.pack(MAGIC, self.offset, self.length)


@dataclass(frozen=True, slots=True)
class Index:
    """What `archive-index.json` says: the format and all regular files but itself, in the order of the tar."""

    compression: str
    entries: tuple[Entry, ...]


_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]


class _EntryJson(msgspec.Struct):
    name: str
    digest: str
    size: _Count
    offset: _Count
    length: _Count
    encoding: Encoding


class _IndexJson(msgspec.Struct):
    version: int
    compression: str
    entries: list[_EntryJson]


def encode(compression: str, entries: Iterable[Entry]) -> bytes:
    """Return the content of `archive-index.json`, a line for each entry."""
    lines = ",\n".join(
        json.dumps(
            {
                "name": entry.name,
                "digest": str(entry.digest),
                "size": entry.size,
                "offset": entry.offset,
                "length": entry.length,
                "encoding": entry.encoding,
            }
        )
        for entry in entries
    )
    return f'{{"version": {VERSION}, "compression": {json.dumps(compression)}, "entries": [\n{lines}\n]}}\n'.encode()


def decode(data: bytes | bytearray, end: int) -> Index:
    """Read the content of `archive-index.json`; `end` is where in the stream its own data start.

    Raises ValueError for everything that no writer of the format writes: other names, one name twice, a blob under a
    name of another digest, pieces that overlap or lie behind `end`.
    """
    document = decode_document(data, _IndexJson, _MOST_VALUES)
    if document.version != VERSION or document.compression not in _ENCODINGS:
        raise ValueError(f"version {document.version} of {document.compression[:100]!r} is not known")
    encodings = _ENCODINGS[document.compression]
    entries: list[Entry] = []
    names: set[str] = set()
    position = 0
    for item in document.entries:
        if item.name in names or not is_file_name(item.name) or item.name == ARCHIVE_INDEX:
            raise ValueError(f"{item.name[:200]!r} is there twice, or is no name of this format")
        if item.encoding not in encodings or not position <= item.offset <= item.offset + item.length <= end:
            raise ValueError(f"{item.name} cannot be where it is said to be")
        digest = Digest.parse(item.digest)
        if blob_digest(item.name) not in (None, digest):
            raise ValueError(f"{item.name} has the digest of another blob")
        position = item.offset + item.length
        names.add(item.name)
        entries.append(Entry(item.name, digest, item.size, item.offset, item.length, item.encoding))
    return Index(document.compression, tuple(entries))
