"""The gzip archive: one member of mixed DEFLATE blocks, and an empty second one that carries the footer.

The data of every file start at a byte boundary with a cleared dictionary. Sources: RFC 1951, RFC 1952.
"""

from __future__ import annotations

from collections.abc import Iterator

from hangar_async.archive import formats
from hangar_async.archive.blocks import STORED_BLOCK, STORED_HEADER, Block, stored_blocks
from hangar_async.archive.index import Footer
from hangar_async.archive.write.codec import Codec
from hangar_async.archive.write.parts import PartWriter

DEFAULT_LEVEL = 2


class GzipCodec(Codec):
    """Writes gzip; `level` 0 stores all, 1 to 3 are isal's (zlib's where isal is missing), 4 to 9 zlib's."""

    format = formats.GZIP
    encodings = ("stored", "deflate")
    piece_size = 1 << 20
    max_block = STORED_HEADER.size + STORED_BLOCK

    def __init__(self, parts: PartWriter, level: int | None = None, workers: int | None = None) -> None:
        self._level = DEFAULT_LEVEL if level is None else level
        super().__init__(parts, formats.compressor_name(self._level), workers)
        self._crc = 0
        self._size = 0
        parts.write(formats.GZIP_HEADER)

    def finish(self, footer: Footer) -> None:
        """End the member; the footer is an extra subfield of an empty second one."""
        self._parts.write(formats.LAST_BLOCK + formats.GZIP_TRAILER.pack(self._crc, self._size & 0xFFFFFFFF))
        self._parts.write(formats.FOOTER_MEMBER_START + footer.payload() + formats.FOOTER_MEMBER_END)

    def _unit(self, data: bytes | memoryview) -> bytes:
        return formats.deflate(data, self._level)

    def _blocks(self, size: int) -> Iterator[Block]:
        return stored_blocks(size)

    def _count(self, data: bytes | memoryview, length: int) -> None:
        self._crc = formats.crc32(data, self._crc)
        self._size += len(data)

    def _pays(self, sample: bytes) -> bool:
        return self._level > 0 and super()._pays(sample)
