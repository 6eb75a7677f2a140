"""The input of the writer: bytes of a declared number, from a file or memory; and workers that compress its pieces."""

import io
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from hangar_async.disk import failing, remaining
from hangar_async.errors import StorageError

# More workers gain little beside one reader and one writer, and each needs memory for a piece.
_MAX_WORKERS = 4


class Input:
    """Bytes that are read once, from the start to the end; `size` of them. Made by `open_input` or `bytes_input`.

    `readv` fills views with the next bytes, as `os.readv`; `pread` returns up to a number of bytes from the start.
    `after_read` is called after every reading, of about 2 MiB. `path` is for messages.
    """

    # Errors are caught without `failing`, which costs more than the reading of a small file.

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
    with failing("read", path):
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        source = Input(path, size, partial(os.readv, file), lambda count: os.pread(file, count, 0), after_read)
        yield source
        if (actual := os.fstat(file).st_size) != size:
            raise source.wrong_size(actual)
    finally:
        os.close(file)


class CompressionWorkers:
    """Cuts sources into pieces of a constant size, and compresses them; the number of workers changes no byte.

    `compress` is called in several threads. `close` ends them.
    """

    def __init__(self, compress: Callable[[memoryview], bytes], size: int, workers: int | None = None) -> None:
        self._compress = compress
        self._size = size
        self._workers = workers or min(_processors(), _MAX_WORKERS)
        self._pool: ThreadPoolExecutor | None = None
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
            self._pool.shutdown(cancel_futures=True)
            self._pool = None

    def _start(self, view: memoryview, *, last: bool) -> Future[bytes]:
        if last:  # a single piece needs no other thread
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
