"""The compressed stream on its way to disk: cut into parts, hashed and synced beside the writing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from hangar_async.archive.background import Background
from hangar_async.archive.files import Files
from hangar_async.archive.temporary import TemporaryNames
from hangar_async.oci.digest import Hasher

_BUFFER = 17 << 16
_BUFFERS = 4
#: So many bytes are handed to the disk at once while the writing goes on.
_SYNC_EVERY = 32 << 20


@dataclass(slots=True, eq=False)
class Part:
    """One file of the stream under its temporary name; `file` is None once it is closed."""

    path: Path
    file: int | None
    hasher: Hasher = field(default_factory=hashlib.sha256)
    size: int = 0
    #: How much of it was handed to the disk.
    synced: int = 0
    #: A sync of it is asked for and not done.
    syncing: bool = False
    #: Nothing more is written to it.
    ended: bool = False


class Output:
    """Takes the compressed stream in order and cuts it every `part_size` bytes; all of it goes through its buffers.

    A codec fills `room` and says how much by `advance`, or calls `write`. Raises StorageError, also later than
    at the write that failed; then only `abandon` is left. `finish` or `abandon` ends the threads.
    """

    def __init__(self, names: TemporaryNames, files: Files, part_size: int | None, sync: bool) -> None:
        self._names = names
        self._files = files
        self._part_size = part_size
        self._sync = sync
        self._free: SimpleQueue[bytearray] = SimpleQueue()
        self._made = 1
        self._buffer = bytearray(_BUFFER)
        self._view = memoryview(self._buffer)
        self._fill = 0
        self._flushed = 0
        self._hashing = Background("archive-hash")
        self._syncing = Background("archive-sync")
        self.parts: list[Part] = []

    @property
    def position(self) -> int:
        """How long the stream is so far, all parts joined."""
        return self._flushed + self._fill

    @property
    def part(self) -> int:
        """The number of the part that is being written, from 0."""
        return max(0, len(self.parts) - 1)

    def room(self, least: int) -> memoryview:
        """Return what is free of the buffer, at least `least` bytes of it (at most 1 MiB)."""
        if _BUFFER - self._fill < least:
            self.flush()
        return self._view[self._fill :]

    def advance(self, count: int) -> None:
        """Take over the first `count` bytes of the last `room`."""
        self._fill += count

    def write(self, data: bytes) -> None:
        """Append bytes of any length."""
        rest = memoryview(data)
        while rest:
            room = self.room(1)
            count = min(len(room), len(rest))
            room[:count] = rest[:count]
            self.advance(count)
            rest = rest[count:]

    def flush(self) -> None:
        """Write what is in the buffer."""
        self._hashing.check()
        self._syncing.check()
        buffer, rest, part = self._buffer, self._view[: self._fill], None
        while rest:
            part = self._open_part()
            space = len(rest) if self._part_size is None else self._part_size - part.size
            piece, rest = rest[:space], rest[space:]
            # Hashing and writing go on at once; the buffer is not filled again before both are done.
            self._hashing.put(partial(self._hash, part.hasher, piece, None if rest else buffer))
            self._write(part, piece)
            self._flushed += len(piece)
        if part is not None:
            self._fill = 0
            self._next_buffer()

    def finish(self) -> list[Part]:
        """Write, sync, hash and close all; return the parts."""
        self.flush()
        if self.parts and not self.parts[-1].ended:
            self._end(self.parts[-1])
        self._hashing.join()
        self._syncing.join()
        return self.parts

    def abandon(self) -> None:
        """End the threads and close the files, whatever failed; may be called again."""
        self._hashing.stop()
        self._syncing.stop()
        for part in self.parts:
            file, part.file = part.file, None
            if file is not None:
                self._files.release(file)

    def _open_part(self) -> Part:
        if not self.parts or self.parts[-1].ended:
            path = self._names.new()
            self.parts.append(Part(path, self._files.create(path)))
        return self.parts[-1]

    def _write(self, part: Part, piece: memoryview) -> None:
        assert part.file is not None  # noqa: S101 - what has not ended is open
        self._files.write(part.file, piece, part.path)
        part.size += len(piece)
        if part.size == self._part_size:
            self._end(part)
        elif self._sync and not part.syncing and part.size - part.synced >= _SYNC_EVERY:
            part.syncing = True
            part.synced = part.size
            self._syncing.put(partial(self._sync_so_far, part, part.file))

    def _end(self, part: Part) -> None:
        part.ended = True
        self._syncing.put(partial(self._close, part))

    def _next_buffer(self) -> None:
        if self._made < _BUFFERS and self._free.empty():
            self._made += 1
            self._buffer = bytearray(_BUFFER)
        else:
            self._buffer = self._free.get()
        self._view = memoryview(self._buffer)

    def _sync_so_far(self, part: Part, file: int) -> None:
        try:
            self._files.sync(file, part.path)
        finally:
            part.syncing = False

    def _close(self, part: Part) -> None:
        file = part.file
        if file is None:
            return
        if self._sync:
            self._files.sync(file, part.path)
        part.file = None
        self._files.close(file, part.path)

    def _hash(self, hasher: Hasher, piece: memoryview, buffer: bytearray | None) -> None:
        try:
            hasher.update(piece)
        finally:
            if buffer is not None:
                self._free.put(buffer)
