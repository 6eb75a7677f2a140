"""Compressed streams with restart points: the base of both formats, and the threads that compress."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import ClassVar

from hangar_async.archive.blocks import Block
from hangar_async.archive.formats import COMPRESSED_MAGIC, relax
from hangar_async.archive.index import Encoding, Footer
from hangar_async.archive.write.input import Input
from hangar_async.archive.write.parts import PartWriter

_SAMPLE = 1 << 20
# More gain little beside one reader and one writer, and each holds a piece.
_MAX_WORKERS = 4


class Codec(ABC):
    """Writes one compressed stream into parts; every call makes units that can be read without the bytes before them.

    `compressor` names the library and its version; `workers` is the number of threads that compress.
    """

    #: The name of the format, as in the index.
    format: ClassVar[str]
    #: The encodings of content that is stored as it is, and of content that is compressed.
    encodings: ClassVar[tuple[Encoding, Encoding]]
    #: The number of bytes that make a unit when they are compressed.
    piece_size: ClassVar[int]
    #: The most bytes of a block of stored content, with its header.
    max_block: ClassVar[int]

    def __init__(self, parts: PartWriter, compressor: str, workers: int | None) -> None:
        self._parts = parts
        self.compressor = compressor
        self._workers = CompressionWorkers(self._unit, self.piece_size, workers)

    def write(self, data: bytes) -> None:
        """Append a few bytes that are no file's data, such as tar headers."""
        self._append(data, self._unit(data))
        relax()

    def add(self, source: Input, *, compressed: bool) -> Encoding:
        """Append a source, compressed where that pays; `compressed` says that by its type it is compressed already.

        It does not pay if the first bytes confirm that, or if a sample gains under 3 %.
        """
        confirmed = compressed and source.head(6).startswith(COMPRESSED_MAGIC)
        return self.store(source) if confirmed or not self._pays(source.head(_SAMPLE)) else self.compress(source)

    def store(self, source: Input) -> Encoding:
        """Append a source as it is, in blocks."""
        blocks = self._blocks(source.size)
        while batch := list(islice(blocks, len(space := self._parts.space(self.max_block)) // self.max_block)):
            views, used = [], 0
            for header, size in batch:
                start = used + len(header)
                space[used:start] = header
                used = start + size
                views.append(space[start:used])
            source.read_into(views)
            for view in views:
                self._count(view, 0)
            relax()
            self._parts.advance(used)
        return self.encodings[0]

    def compress(self, source: Input) -> Encoding:
        """Append a source in pieces, each compressed by itself."""
        for piece, unit in self._workers.units(source):
            self._append(piece, unit)
        relax()
        return self.encodings[1]

    @abstractmethod
    def finish(self, footer: Footer) -> None:
        """End the stream; the footer comes after the end of the data."""

    def close(self) -> None:
        """End its threads; may be called again."""
        self._workers.close()

    @abstractmethod
    def _unit(self, data: bytes | memoryview) -> bytes:
        """Compress data to a unit; called in several threads."""

    @abstractmethod
    def _blocks(self, size: int) -> Iterator[Block]:
        """Divide content that is stored as it is into blocks."""

    @abstractmethod
    def _count(self, data: bytes | memoryview, length: int) -> None:
        """Note content for the end of the stream; `length` is that of its unit, 0 for stored content."""

    def _append(self, data: bytes | memoryview, unit: bytes) -> None:
        self._count(data, len(unit))
        self._parts.write(unit)

    def _pays(self, sample: bytes) -> bool:
        return len(self._unit(sample)) < len(sample) * 0.97


class CompressionWorkers:
    """Cuts sources into pieces of a constant size, so that the number of workers changes no byte, and compresses them.

    `compress` is called in several threads. `close` ends them.
    """

    def __init__(self, compress: Callable[[memoryview], bytes], size: int, workers: int | None = None) -> None:
        self._compress = compress
        self._size = size
        self._workers = workers or min(_processors(), _MAX_WORKERS)
        self._pool: ThreadPoolExecutor | None = None
        self._free: list[bytearray] = []

    def units(self, source: Input) -> Iterator[tuple[memoryview, bytes]]:
        """Yield each piece and its compressed unit, in order; a piece is valid until the next one is asked for."""
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
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _start(self, view: memoryview, *, last: bool) -> Future[bytes]:
        if last:  # alone: another thread would only cost
            done: Future[bytes] = Future()
            done.set_result(self._compress(view))
            return done
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._workers, "archive-compress")
        return self._pool.submit(self._compress, view)


def _processors() -> int:
    """Count the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
