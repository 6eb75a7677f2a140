"""Compression on several processors: the pieces of a source, compressed at once and handed on in their order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from hangar_async.archive.write.input import Source

# More gain little beside one reader and one writer, and each holds a piece.
_MOST_WORKERS = 4


class Pieces:
    """Cuts sources into pieces of a constant size, so that how many workers there are changes no byte.

    `compress` is called in several threads. `close` ends them.
    """

    def __init__(self, compress: Callable[[memoryview], bytes], size: int, workers: int | None = None) -> None:
        self._compress = compress
        self._size = size
        self._workers = workers or min(_processors(), _MOST_WORKERS)
        self._pool: ThreadPoolExecutor | None = None
        self._free: list[bytearray] = []

    def of(self, source: Source) -> Iterator[tuple[memoryview, bytes]]:
        """Yield each piece and what it became, in order; a piece is valid until the next one is asked for."""
        rest = source.size
        running: deque[tuple[bytearray, memoryview, Future[bytes]]] = deque()
        while rest or running:
            while rest and len(running) <= self._workers:
                buffer = self._free.pop() if self._free else bytearray(self._size)
                view = memoryview(buffer)[: min(rest, self._size)]
                source.read_into([view])
                rest -= len(view)
                running.append((buffer, view, self._start(view, last=not rest and not running)))
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
