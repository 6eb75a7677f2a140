"""The zstd archive: independent frames, and a seek table at the end.

Sources: RFC 8878; zstd's contrib/seekable_format, "Zstandard Seekable Format".
"""

from __future__ import annotations

import threading
from collections.abc import Iterator

import zstandard

from hangar_async.archive import formats
from hangar_async.archive.blocks import MAX_HEADER, RAW_BLOCK, RAW_FRAME, Block, raw_blocks, raw_offset
from hangar_async.archive.index import Footer
from hangar_async.archive.write.codec import Codec
from hangar_async.archive.write.parts import PartWriter

DEFAULT_LEVEL = 2


class ZstdCodec(Codec):
    """Writes zstd of a level from 1 to 19."""

    format = formats.ZSTD
    encodings = ("zstd", "zstd")
    piece_size = 2 << 20
    max_block = MAX_HEADER + RAW_BLOCK

    def __init__(self, parts: PartWriter, level: int | None = None, workers: int | None = None) -> None:
        super().__init__(parts, f"zstandard {zstandard.__version__}", workers)
        self._level = DEFAULT_LEVEL if level is None else level
        self._local = threading.local()
        self._table = bytearray()

    def finish(self, footer: Footer) -> None:
        """Append the footer and the seek table, which counts every frame before it."""
        self._append(b"", formats.FOOTER_FRAME_START + footer.payload())
        count = len(self._table) // formats.SEEK_ENTRY.size
        table = self._table + formats.SEEK_FOOTER.pack(count, 0, formats.SEEKABLE_MAGIC)
        self._parts.write(formats.SKIPPABLE.pack(formats.SEEK_TABLE_MAGIC, len(table)) + table)

    def _unit(self, data: bytes | memoryview) -> bytes:
        # A compressor is of one thread; making one costs more than a small frame.
        if not hasattr(self._local, "compressor"):
            # The checksum protects tar headers, which have no digest.
            self._local.compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        frame: bytes = self._local.compressor.compress(data)
        return frame

    def _blocks(self, size: int) -> Iterator[Block]:
        for start in range(0, size, RAW_FRAME):
            frame = min(size - start, RAW_FRAME)
            self._table += formats.SEEK_ENTRY.pack(raw_offset(frame), frame)
        return raw_blocks(size)

    def _count(self, data: bytes | memoryview, length: int) -> None:
        if length:
            self._table += formats.SEEK_ENTRY.pack(length, len(data))
