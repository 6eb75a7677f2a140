"""The index of an archive, and the footer that says where it is; values to bytes."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from hangar_async.oci.digest import Digest

VERSION = 1
Encoding = Literal["stored", "deflate", "zstd"]
_FOOTER = struct.Struct("<8sQQ")
_MAGIC = b"HGRSEEK1"


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

    def payload(self) -> bytes:
        """Return the 24 bytes that stand behind the end of the tar."""
        return _FOOTER.pack(_MAGIC, self.offset, self.length)


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
