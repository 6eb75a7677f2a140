"""The zstd archive: independent frames, and a seek table at the end.

Sources: RFC 8878; zstd's contrib/seekable_format, "Zstandard Seekable Format".
"""

from __future__ import annotations

import struct
import threading

import zstandard

from hangar_async.archive.index import Encoding, Footer
from hangar_async.archive.write.input import Source
from hangar_async.archive.write.parts import Output
from hangar_async.archive.write.workers import Pieces

_PIECE = 2 << 20
_MAGIC = 0xFD2FB528
#: A frame with a content size of four bytes (0x80), and a window of 128 KiB, the largest block (RFC 8878, 3.1.1.1).
_RAW_HEADER = struct.Struct("<IBBI")
_DESCRIPTOR = 0x80
_WINDOW = (17 - 10) << 3
_BLOCK = 128 << 10
_BLOCK_HEADER = 3
_RAW_FRAME = 64 << 20
_SKIPPABLE = struct.Struct("<II")
_FOOTER_MAGIC = 0x184D2A5D
_SEEK_TABLE_MAGIC = 0x184D2A5E
_SEEK_ENTRY = struct.Struct("<II")
_SEEK_FOOTER = struct.Struct("<IBI")
_SEEKABLE_MAGIC = 0x8F92EAB1
DEFAULT_LEVEL = 2


class ZstdCodec:
    """Writes zstd of a level from 1 to 19."""

    format = "zstd"
    compressor = f"zstandard {zstandard.__version__}"

    def __init__(self, output: Output, level: int | None = None, workers: int | None = None) -> None:
        self._output = output
        self._level = DEFAULT_LEVEL if level is None else level
        self._own = threading.local()
        self._pieces = Pieces(self._frame, _PIECE, workers)
        self._table = bytearray()

    def write(self, data: bytes) -> None:
        """Append a few bytes, a frame of their own."""
        frame = self._frame(data)
        self._output.write(frame)
        self._count(len(frame), len(data))

    def store(self, source: Source) -> Encoding:
        """Append a source in frames of up to 64 MiB, made of raw blocks of 128 KiB."""
        for start in range(0, source.size, _RAW_FRAME):
            self._store_frame(source, min(source.size - start, _RAW_FRAME))
        return "zstd"

    def compress(self, source: Source) -> Encoding:
        """Append a source in pieces of 2 MiB, a frame each."""
        for piece, frame in self._pieces.of(source):
            self._output.write(frame)
            self._count(len(frame), len(piece))
        return "zstd"

    def shrink(self, sample: bytes) -> int:
        """Say to how many bytes a sample can be compressed."""
        return len(self._frame(sample))

    def finish(self, footer: Footer) -> None:
        """Append the footer and the seek table, which counts every frame before it."""
        payload = footer.payload()
        self._output.write(_SKIPPABLE.pack(_FOOTER_MAGIC, len(payload)) + payload)
        self._count(_SKIPPABLE.size + len(payload), 0)
        end = _SEEK_FOOTER.pack(len(self._table) // _SEEK_ENTRY.size, 0, _SEEKABLE_MAGIC)
        self._output.write(_SKIPPABLE.pack(_SEEK_TABLE_MAGIC, len(self._table) + len(end)) + self._table + end)

    def close(self) -> None:
        """End its threads; may be called again."""
        self._pieces.close()

    def _store_frame(self, source: Source, size: int) -> None:
        start, rest = self._output.position, size
        self._output.write(_RAW_HEADER.pack(_MAGIC, _DESCRIPTOR, _WINDOW, size))
        while rest:
            space = self._output.space(_BLOCK_HEADER + _BLOCK)
            views, used = [], 0
            while rest and len(space) - used >= _BLOCK_HEADER + _BLOCK:
                count = min(rest, _BLOCK)
                rest -= count
                # Bit 0: the last block; bits 1 and 2: its type, 0 for raw; then its size.
                space[used : used + _BLOCK_HEADER] = (count << 3 | (not rest)).to_bytes(_BLOCK_HEADER, "little")
                used += _BLOCK_HEADER
                views.append(space[used : used + count])
                used += count
            source.read_into(views)
            self._output.advance(used)
        self._count(self._output.position - start, size)

    def _count(self, compressed: int, size: int) -> None:
        self._table += _SEEK_ENTRY.pack(compressed, size)

    def _frame(self, data: bytes | memoryview) -> bytes:
        # A compressor is of one thread; making one costs more than a small frame.
        if not hasattr(self._own, "compressor"):
            # Its checksum vouches for tar headers, which have no digest.
            self._own.compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        frame: bytes = self._own.compressor.compress(data)
        return frame
