"""Compressed streams with restart points: gzip and zstd."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from itertools import islice
from typing import ClassVar

import zstandard

from hangar_async.archive import formats
from hangar_async.archive.index import Encoding, Footer
from hangar_async.archive.write.input import CompressionWorkers, Input
from hangar_async.archive.write.parts import PartWriter

_SAMPLE = 1 << 20


class Codec(ABC):
    """Writes one compressed stream into parts; each call makes units that can be decoded alone.

    `level` is that of the compression, None for the default; `workers` is the number of threads that compress.
    """

    #: The name of the format, as in the index.
    format: ClassVar[str]
    default_level: ClassVar[int]
    #: The encodings of content that is stored as it is, and of content that is compressed.
    encodings: ClassVar[tuple[Encoding, Encoding]]
    #: The number of bytes that make a unit when they are compressed.
    piece_size: ClassVar[int]
    #: The most bytes of a block of stored content, with its header.
    max_block: ClassVar[int]

    #: The library that compresses, and its version.
    compressor: str

    def __init__(self, parts: PartWriter, level: int | None = None, workers: int | None = None) -> None:
        self._parts = parts
        self._level = self.default_level if level is None else level
        self._workers = CompressionWorkers(self._unit, self.piece_size, workers)

    def write(self, data: bytes) -> None:
        """Append a few bytes that are not data of a file, such as tar headers."""
        self._append(data, self._unit(data))

    def add(self, source: Input, *, compressed: bool) -> Encoding:
        """Append a source, compressed where that pays; `compressed` is True where its type is a compressed one.

        It does not pay if the first bytes confirm that, or if a sample gains less than 3 %.
        """
        confirmed = compressed and source.head(6).startswith(formats.COMPRESSED_MAGIC)
        return self.store(source) if confirmed or not self._pays(source.head(_SAMPLE)) else self.compress(source)

    def store(self, source: Input) -> Encoding:
        """Append a source as it is, in blocks."""
        left = source.size
        blocks = self._blocks(left)
        while left:
            space = self._parts.space(self.max_block)
            views, used = [], 0
            for header, size in islice(blocks, len(space) // self.max_block):
                start = used + len(header)
                space[used:start] = header
                used = start + size
                views.append(space[start:used])
                left -= size
            source.read_into(views)
            for view in views:
                self._count(view, 0)
            self._parts.advance(used)
        return self.encodings[0]

    def compress(self, source: Input) -> Encoding:
        """Append a source in pieces, each compressed alone."""
        for piece, unit in self._workers.units(source):
            self._append(piece, unit)
        return self.encodings[1]

    @abstractmethod
    def finish(self, footer: Footer) -> None:
        """End the stream; the footer comes after the end of the data."""

    def close(self) -> None:
        """End the threads; may be called again."""
        self._workers.close()

    @abstractmethod
    def _unit(self, data: bytes | memoryview) -> bytes:
        """Compress data to a unit; called in several threads."""

    @abstractmethod
    def _blocks(self, size: int) -> Iterator[formats.Block]:
        """Divide content that is stored as it is into blocks."""

    @abstractmethod
    def _count(self, data: bytes | memoryview, length: int) -> None:
        """Note content for the end of the stream; `length` is that of its unit, 0 for stored content."""

    def _append(self, data: bytes | memoryview, unit: bytes) -> None:
        self._count(data, len(unit))
        self._parts.write(unit)

    def _pays(self, sample: bytes) -> bool:
        return len(self._unit(sample)) < len(sample) * 0.97


class GzipCodec(Codec):
    """Writes one gzip member of mixed DEFLATE blocks, and an empty second one with the footer.

    The data of every file start at a byte boundary with a cleared dictionary. Level 0 stores all, 1 to 3 are isal's
    (zlib's where isal is missing), 4 to 9 zlib's.
    """

    format = formats.GZIP
    default_level = 2
    encodings = ("stored", "deflate")
    piece_size = 1 << 20
    max_block = formats.STORED_HEADER.size + formats.STORED_BLOCK

    def __init__(self, parts: PartWriter, level: int | None = None, workers: int | None = None) -> None:
        super().__init__(parts, level, workers)
        self.compressor = formats.compressor_name(self._level)
        self._crc = 0
        self._size = 0
        parts.write(formats.GZIP_HEADER)

    def add(self, source: Input, *, compressed: bool) -> Encoding:
        """Append a source, compressed where that pays."""
        encoding = super().add(source, compressed=compressed)
        formats.relax()
        return encoding

    def finish(self, footer: Footer) -> None:
        """End the member; the footer is an extra subfield of an empty second one."""
        self._parts.write(formats.LAST_BLOCK + formats.GZIP_TRAILER.pack(self._crc, self._size & 0xFFFFFFFF))
        self._parts.write(formats.FOOTER_MEMBER_START + footer.payload() + formats.FOOTER_MEMBER_END)

    def _unit(self, data: bytes | memoryview) -> bytes:
        return formats.deflate(data, self._level)

    def _blocks(self, size: int) -> Iterator[formats.Block]:
        return formats.stored_blocks(size)

    def _count(self, data: bytes | memoryview, length: int) -> None:
        self._crc = formats.crc32(data, self._crc)
        self._size += len(data)

    def _pays(self, sample: bytes) -> bool:
        return self._level > 0 and super()._pays(sample)


class ZstdCodec(Codec):
    """Writes independent zstd frames, of a level from 1 to 19, and a seek table at the end."""

    format = formats.ZSTD
    default_level = 2
    compressor = f"zstandard {zstandard.__version__}"
    encodings = ("zstd", "zstd")
    piece_size = 2 << 20
    max_block = formats.MAX_HEADER + formats.RAW_BLOCK

    def __init__(self, parts: PartWriter, level: int | None = None, workers: int | None = None) -> None:
        super().__init__(parts, level, workers)
        self._local = threading.local()
        self._table = bytearray()

    def finish(self, footer: Footer) -> None:
        """Append the footer and the seek table, which counts every frame before it."""
        self._append(b"", formats.FOOTER_FRAME_START + footer.payload())
        count = len(self._table) // formats.SEEK_ENTRY.size
        table = self._table + formats.SEEK_FOOTER.pack(count, 0, formats.SEEKABLE_MAGIC)
        self._parts.write(formats.SKIPPABLE.pack(formats.SEEK_TABLE_MAGIC, len(table)) + table)

    def _unit(self, data: bytes | memoryview) -> bytes:
        # A compressor serves one thread; a new one costs more than a small frame.
        if not hasattr(self._local, "compressor"):
            # The checksum protects tar headers, which have no digest.
            self._local.compressor = zstandard.ZstdCompressor(level=self._level, write_checksum=True)
        frame: bytes = self._local.compressor.compress(data)
        return frame

    def _blocks(self, size: int) -> Iterator[formats.Block]:
        for start in range(0, size, formats.RAW_FRAME):
            frame = min(size - start, formats.RAW_FRAME)
            self._table += formats.SEEK_ENTRY.pack(formats.raw_offset(frame), frame)
        return formats.raw_blocks(size)

    def _count(self, data: bytes | memoryview, length: int) -> None:
        if length:
            self._table += formats.SEEK_ENTRY.pack(length, len(data))
