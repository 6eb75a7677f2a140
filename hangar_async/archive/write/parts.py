"""The writer of the compressed stream: cuts it into parts, hashes, writes and syncs them beside the compression."""

import hashlib
import mmap
import os
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from hangar_async.archive.formats import relax
from hangar_async.disk import ALIGNMENT, Disk
from hangar_async.effort import WorkTimes
from hangar_async.oci import Hasher
from hangar_async.temporary import TemporaryFiles

#: The bytes that are written at once, with space for one of the largest pieces after them.
_BUFFER_SIZE = 33 << 16
_MAX_BUFFERS = 4
#: The files that are open at once: the one that is written, and those that wait for their sync.
_MAX_OPEN = 8
_SECONDS_BETWEEN_CHECKS = 1.0
#: The name of a stream in messages.
_STREAM = Path("standard output")
#: The bytes of the page cache after which a sync starts beside the writing.
_SYNC_EVERY = 32 << 20


@dataclass(slots=True, eq=False)
class WrittenPart:
    """One file of the stream under its temporary name; `file` is None once it is closed."""

    path: Path
    file: int | None
    #: None where the part is not hashed.
    hasher: Hasher | None
    size: int = 0
    #: The bytes that are written, and those of them at the start of the last sync.
    written: int = 0
    synced: int = 0
    #: True during a sync.
    syncing: bool = False
    #: True after the last byte.
    ended: bool = False

    @property
    def digest(self) -> str | None:
        """The SHA-256 of its bytes in hexadecimal, None where it is not hashed."""
        return None if self.hasher is None else self.hasher.hexdigest()


class _AlignedBuffer:
    """Aligned memory for direct writing; `done` gets an item for each job that has read from it."""

    def __init__(self) -> None:
        self.view = memoryview(mmap.mmap(-1, _BUFFER_SIZE))
        self.jobs = 0
        self.done: SimpleQueue[None] = SimpleQueue()

    def wait(self) -> None:
        """Wait until no job reads from it."""
        while self.jobs:
            self.done.get()
            self.jobs -= 1


class PartWriter:
    """Takes the compressed stream in order and cuts it every `part_size` bytes, in its buffers.

    A codec fills `space` and calls `advance` with the number of bytes, or `write`. Hashing and writing run at once, in
    a thread each; nothing is hashed where `hashed` is False. All goes to the descriptor `stream` where there is one.
    Raises StorageError, also later than at the write that failed; then only `abandon` may be called. `finish` or
    `abandon` ends the threads.
    """

    def __init__(
        self,
        names: TemporaryFiles,
        disk: Disk,
        part_size: int | None,
        sync: bool,
        *,
        hashed: bool = True,
        stream: int | None = None,
    ) -> None:
        self._names = names
        self._disk = disk
        self._part_size = part_size
        self._sync = sync
        self._hashed = hashed
        self._stream = stream
        self._direct = part_size is None or part_size % ALIGNMENT == 0
        self._buffer = _AlignedBuffer()
        self._used: deque[_AlignedBuffer] = deque()
        self._fill = 0
        self._flushed = 0
        self._hashing, self._writing, self._syncing = self._threads = [
            JobThread(f"archive-{name}") for name in ("hash", "write", "sync")
        ]
        self._may_open = threading.Semaphore(_MAX_OPEN)
        self.parts: list[WrittenPart] = []

    @property
    def position(self) -> int:
        """The length of the stream so far, all parts joined."""
        return self._flushed + self._fill

    @property
    def number(self) -> int:
        """The number of the part that is being written, from 0."""
        return max(0, len(self.parts) - 1)

    def space(self, least: int) -> memoryview:
        """Return the free rest of the buffer, at least `least` bytes of it (at most 2 MiB)."""
        if _BUFFER_SIZE - self._fill < least:
            self._flush()
        return self._buffer.view[self._fill :]

    def advance(self, count: int) -> None:
        """Append the first `count` bytes of the last `space`."""
        self._fill += count

    def write(self, data: bytes) -> None:
        """Append bytes of any length."""
        rest = memoryview(data)
        while rest:
            space = self.space(1)
            count = min(len(space), len(rest))
            space[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def finish(self) -> list[WrittenPart]:
        """Write, sync, hash and close all; return the parts."""
        self._flush(last=True)
        if self.parts and not self.parts[-1].ended:
            self._end(self.parts[-1])
        for thread in self._threads:
            thread.stop()
            thread.check()
        return self.parts

    def abandon(self) -> None:
        """End the threads and close the files after a failure; may be called again."""
        for thread in self._threads:
            thread.stop()
        for part in self.parts:
            file, part.file = part.file, None
            if file is not None:
                self._disk.release(file)

    def _flush(self, *, last: bool = False) -> None:
        """Pass the content of the buffer to the threads, and take another buffer; the unaligned rest waits for more."""
        self._check()
        buffer, rest = self._buffer, self._buffer.view[: self._fill]
        while rest:
            part = self._open_part()
            space = len(rest) if self._part_size is None else self._part_size - part.size
            piece = rest[:space]
            if len(piece) < space or self._part_size is None:
                piece = piece[: len(piece) if last else len(piece) - len(piece) % ALIGNMENT]
            if not piece:
                break
            self._pass_on(part, piece, buffer)
            rest = rest[len(piece) :]
        self._buffer = self._next_buffer(buffer)
        self._buffer.view[: len(rest)] = rest
        self._fill = len(rest)

    @property
    def times(self) -> WorkTimes:
        """The times of the work of the run."""
        return self._disk.times

    def _check(self) -> None:
        for thread in self._threads:
            thread.check()

    def _open_part(self) -> WrittenPart:
        if not self.parts or self.parts[-1].ended:
            while not self._may_open.acquire(timeout=_SECONDS_BETWEEN_CHECKS):
                # A thread that has failed closes nothing any more.
                self._check()
            path = self._names.new() if self._stream is None else _STREAM
            file = self._disk.create(path, direct=self._direct) if self._stream is None else os.dup(self._stream)
            self.parts.append(WrittenPart(path, file, hashlib.sha256() if self._hashed else None))
        return self.parts[-1]

    def _pass_on(self, part: WrittenPart, piece: memoryview, buffer: _AlignedBuffer) -> None:
        if part.hasher is not None:
            buffer.jobs += 1
            self._hashing.put(partial(self._hash, part.hasher, piece, buffer))
        buffer.jobs += 1
        self._writing.put(partial(self._write, part, piece, buffer))
        part.size += len(piece)
        self._flushed += len(piece)
        if part.size == self._part_size:
            self._end(part)

    def _end(self, part: WrittenPart) -> None:
        part.ended = True
        # A sync waits for the disk, and the next write does not.
        self._writing.put(lambda: self._syncing.put(partial(self._close, part)))

    def _next_buffer(self, buffer: _AlignedBuffer) -> _AlignedBuffer:
        self._used.append(buffer)
        if len(self._used) < _MAX_BUFFERS:
            return _AlignedBuffer()
        oldest = self._used.popleft()
        oldest.wait()
        return oldest

    def _hash(self, hasher: Hasher, piece: memoryview, buffer: _AlignedBuffer) -> None:
        try:
            relax()
            with self._disk.times.hashing.timed():
                hasher.update(piece)
        finally:
            buffer.done.put(None)

    def _write(self, part: WrittenPart, piece: memoryview, buffer: _AlignedBuffer) -> None:
        try:
            assert part.file is not None  # noqa: S101 - closed after the last piece
            if self._writing.error is not None:
                return
            self._disk.write(part.file, piece, part.path)
            part.written += len(piece)
            due = part.written - part.synced >= _SYNC_EVERY
            if self._sync and self._stream is None and due and not part.syncing and not self._disk.is_direct(part.file):
                part.syncing = True
                part.synced = part.written
                self._syncing.put(partial(self._sync_so_far, part, part.file))
        finally:
            buffer.done.put(None)

    def _sync_so_far(self, part: WrittenPart, file: int) -> None:
        try:
            self._disk.sync_file(file, part.path)
        finally:
            part.syncing = False

    def _close(self, part: WrittenPart) -> None:
        file = part.file
        assert file is not None  # noqa: S101 - closed only here
        if self._sync and self._stream is None:
            self._disk.sync_file(file, part.path)
        part.file = None
        self._disk.close(file, part.path)
        self._may_open.release()


class JobThread:
    """A thread that does jobs one after the other; `error` is the first error of a job.

    The queue is not bounded, but the buffers of the jobs are. Where the system starts no more threads, the caller's
    thread does the job at once.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self.error: BaseException | None = None

    def put(self, job: Callable[[], None]) -> None:
        """Add a job."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name=self._name, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._do(job)
                return
            self._thread = thread
        self._jobs.put(job)

    def check(self) -> None:
        """Raise the first error of a job."""
        if self.error is not None:
            raise self.error

    def stop(self) -> None:
        """Wait for all jobs and end the thread, also after errors."""
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            self._do(job)

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except BaseException as error:
            self.error = self.error or error
