"""Compressed streams with restart points, gzip and zstd: their input, the workers that compress it, and the codecs."""

import io
import os
import threading
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import islice
from pathlib import Path
from typing import ClassVar

import zstandard

from hangar_async.archive import formats
from hangar_async.archive.entries import Encoding
from hangar_async.archive.index import Footer
from hangar_async.archive.write.parts import PartWriter
from hangar_async.disk import Failing, remaining
from hangar_async.effort import WorkTimes
from hangar_async.errors import StorageError
from hangar_async.threads import Pool

# More workers gain little beside one reader and one writer, and each needs memory for a piece.
_MAX_WORKERS = 4


class Input:
    """Bytes that are read once, from the start to the end; `size` of them. Made by `open_input` or `bytes_input`.

    `readv` fills views with the next bytes, as `os.readv`; `pread` returns up to a number of bytes from the start.
    `after_read` is called after every reading, of about 2 MiB. `path` is for messages.
    """

    # Errors are caught without `Failing`, which costs more than the reading of a small file.

    def __init__(
        self,
        path: Path,
        size: int,
        readv: Callable[[Sequence[memoryview]], int],
        pread: Callable[[int], bytes],
        after_read: Callable[[], None] = lambda: None,
    ) -> None:
        self._path = path
        self.size = size
        self._readv = readv
        self._pread = pread
        self._after_read = after_read
        self._position = 0

    def head(self, count: int) -> bytes:
        """Return up to `count` bytes from the start, at the same position."""
        try:
            return self._pread(min(count, self.size))
        except OSError as error:
            raise StorageError.of(error, self._path, "read") from error

    def read_into(self, views: Sequence[memoryview]) -> None:
        """Fill the views with the next bytes; raises StorageError, also where the file ends too early."""
        rest = remaining(views, 0)
        try:
            while rest:
                count = self._readv(rest)
                if not count:
                    raise self.wrong_size(self._position)
                self._position += count
                rest = remaining(rest, count)
        except OSError as error:
            raise StorageError.of(error, self._path, "read") from error
        self._after_read()

    def wrong_size(self, size: int) -> StorageError:
        """Make the error for a file that has `size` bytes."""
        return StorageError(
            f"{self._path} has {size} bytes, not the {self.size} that it was said to have",
            path=str(self._path),
            advice="the file was changed meanwhile; run the same command again",
        )


def bytes_input(data: bytes) -> Input:
    """Make an input of bytes in memory."""
    memory = io.BytesIO(data)
    return Input(Path(), len(data), lambda views: sum(map(memory.readinto, views)), lambda count: data[:count])


@contextmanager
def open_input(path: Path, size: int, after_read: Callable[[], None]) -> Iterator[Input]:
    """Open a file that must have `size` bytes at its end; links are not followed. Raises StorageError."""
    with Failing("read", path):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        source = Input(
            path, size, lambda views: os.readv(file, views), lambda count: os.pread(file, count, 0), after_read
        )
        yield source
        if (actual := os.fstat(file).st_size) != size:
            raise source.wrong_size(actual)
    finally:
        os.close(file)


class CompressionWorkers:
    """Cuts sources into pieces of a constant size, and compresses them; the number of workers changes no byte.

    `compress` is called in several threads. `close` ends them.
    """

    def __init__(
        self,
        compress: Callable[[memoryview], bytes],
        size: int,
        workers: int | None = None,
        times: WorkTimes | None = None,
    ) -> None:
        self._plain_compress = compress
        self._times = times or WorkTimes()
        self._size = size
        self._workers = workers or min(_processors(), _MAX_WORKERS)
        self._pool: Pool | None = None
        self._free: list[bytearray] = []

    def units(self, source: Input) -> Iterator[tuple[memoryview, bytes]]:
        """Yield each piece and its compressed unit, in order; a piece is valid until the next one."""
        left = source.size
        running: deque[tuple[bytearray, memoryview, Future[bytes]]] = deque()
        while left or running:
            while left and len(running) <= self._workers:
                buffer = self._free.pop() if self._free else bytearray(self._size)
                view = memoryview(buffer)[: min(left, self._size)]
                source.read_into([view])
                left -= len(view)
                running.append((buffer, view, self._start(view, last=not left and not running)))
            buffer, view, future = running.popleft()
            yield view, future.result()
            self._free.append(buffer)

    def close(self) -> None:
        """Wait for the threads and end them."""
        if self._pool is not None:
            self._pool.shutdown()
            self._pool = None

    def _compress(self, view: memoryview) -> bytes:
        with self._times.compressing.timed():
            return self._plain_compress(view)

    def _start(self, view: memoryview, *, last: bool) -> Future[bytes]:
        if last:  # a single piece needs no other thread
            done: Future[bytes] = Future()
            done.set_result(self._compress(view))
            return done
        if self._pool is None:
            self._pool = Pool("archive-compress", self._workers)
        return self._pool.submit(partial(self._compress, view))


def _processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


_SAMPLE = 1 << 20
#: The encoding of a source, and its pieces as in its entry of the index.
Encoded = tuple[Encoding, tuple[int, ...]]


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
        self._workers = CompressionWorkers(self._unit, self.piece_size, workers, parts.times)

    def write(self, data: bytes) -> None:
        """Append a few bytes that are not data of a file, such as tar headers."""
        self._append(data, self._unit(data))

    def add(self, source: Input, *, compressed: bool) -> Encoded:
        """Append a source, compressed where that pays; `compressed` is True where its type is a compressed one.

        It does not pay if the first bytes confirm that, or if a sample gains less than 3 %.
        """
        confirmed = compressed and source.head(6).startswith(formats.COMPRESSED_MAGIC)
        return self.store(source) if confirmed or not self._pays(source.head(_SAMPLE)) else self.compress(source)

    def store(self, source: Input) -> Encoded:
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
        return self.encodings[0], ()

    def compress(self, source: Input) -> Encoded:
        """Append a source in pieces, each compressed alone."""
        start, ends = self._parts.position, []
        for piece, unit in self._workers.units(source):
            self._append(piece, unit)
            ends.append(self._parts.position - start)
        encoding = self.encodings[1]
        # The seek table of zstd has its frames.
        return encoding, tuple(ends[:-1]) if encoding == "deflate" else ()

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
    piece_size = formats.DEFLATE_PIECE
    max_block = formats.STORED_HEADER.size + formats.STORED_BLOCK

    def __init__(self, parts: PartWriter, level: int | None = None, workers: int | None = None) -> None:
        super().__init__(parts, level, workers)
        self.compressor = formats.compressor_name(self._level)
        self._crc = 0
        self._size = 0
        parts.write(formats.GZIP_HEADER)

    def add(self, source: Input, *, compressed: bool) -> Encoded:
        """Append a source, compressed where that pays."""
        encoded = super().add(source, compressed=compressed)
        formats.relax()
        return encoded

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
