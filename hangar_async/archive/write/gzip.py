"""The gzip archive: one member of mixed DEFLATE blocks, and an empty second one that carries the footer.

The data of every file start at a byte boundary with a cleared dictionary. Sources: RFC 1951, RFC 1952.
"""

from __future__ import annotations

import struct

from hangar_async.archive.deflate import STORED_BLOCK, STORED_HEADER, compressor_name, crc32, deflate, relax
from hangar_async.archive.index import Encoding, Footer
from hangar_async.archive.write.input import Source
from hangar_async.archive.write.parts import Output
from hangar_async.archive.write.workers import Pieces

_PIECE = 1 << 20
#: No name, no time, operating system "unknown".
_HEADER = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff"
_HEADER_WITH_EXTRA = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff"
#: An empty last block with fixed codes.
_LAST_BLOCK = b"\x03\x00"
_TRAILER = struct.Struct("<II")
_EXTRA_FIELD = struct.Struct("<H2sH")
DEFAULT_LEVEL = 2


class GzipCodec:
    """Writes gzip; `level` 0 stores all, 1 to 3 are isal's (zlib's where isal is missing), 4 to 9 zlib's."""

    format = "gzip"

    def __init__(self, output: Output, level: int | None = None, workers: int | None = None) -> None:
        self._output = output
        self._level = DEFAULT_LEVEL if level is None else level
        self.compressor = compressor_name(self._level)
        self._crc = 0
        self._size = 0
        self._pieces = Pieces(self._deflate, _PIECE, workers)
        output.write(_HEADER)

    def write(self, data: bytes) -> None:
        """Append a few bytes, a unit of their own."""
        self._count(data)
        self._output.write(self._deflate(data))
        relax()

    def store(self, source: Source) -> Encoding:
        """Append a source in stored blocks of 65,535 bytes; the last may be shorter."""
        rest = source.size
        while rest:
            space = self._output.space(STORED_HEADER.size + STORED_BLOCK)
            views, used = [], 0
            while rest and len(space) - used >= STORED_HEADER.size + STORED_BLOCK:
                count = min(rest, STORED_BLOCK)
                STORED_HEADER.pack_into(space, used, 0, count, count ^ 0xFFFF)
                used += STORED_HEADER.size
                views.append(space[used : used + count])
                used += count
                rest -= count
            source.read_into(views)
            for view in views:
                self._count(view)
            relax()
            self._output.advance(used)
        return "stored"

    def compress(self, source: Source) -> Encoding:
        """Append a source in pieces of 1 MiB, each compressed by itself."""
        for piece, compressed in self._pieces.of(source):
            self._count(piece)
            self._output.write(compressed)
        relax()
        return "deflate"

    def shrink(self, sample: bytes) -> int:
        """Say to how many bytes a sample can be compressed."""
        return len(self._deflate(sample)) if self._level else len(sample)

    def finish(self, footer: Footer) -> None:
        """End the member; the footer is an extra subfield of an empty second one."""
        payload = footer.payload()
        extra = _EXTRA_FIELD.pack(4 + len(payload), b"HG", len(payload)) + payload
        self._output.write(_LAST_BLOCK + _TRAILER.pack(self._crc, self._size & 0xFFFFFFFF))
        self._output.write(_HEADER_WITH_EXTRA + extra + _LAST_BLOCK + _TRAILER.pack(0, 0))

    def close(self) -> None:
        """End its threads; may be called again."""
        self._pieces.close()

    def _count(self, data: bytes | memoryview) -> None:
        self._crc = crc32(data, self._crc)
        self._size += len(data)

    def _deflate(self, data: bytes | memoryview) -> bytes:
        return deflate(data, self._level)
