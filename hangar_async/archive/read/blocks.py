"""Content that lies in an archive as it is, in blocks behind small headers: read into place, from any byte on."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from itertools import islice

from hangar_async.archive.deflate import STORED_BLOCK, STORED_HEADER
from hangar_async.archive.index import Entry
from hangar_async.archive.read.volume import Volume, Window

#: Blocks that are read at once.
_MOST_BLOCKS = 64
#: A header and the bytes of content behind it; the first block may be entered in its middle, where it has no header.
Block = tuple[bytes, int]
_RAW_FRAME = 64 << 20
_RAW_BLOCK = 128 << 10
_RAW_BLOCK_HEADER = 3
#: Magic number, a content size of four bytes, a window of 128 KiB, that size (RFC 8878, 3.1.1.1).
_FRAME_HEADER = struct.Struct("<IBBI")
_FRAME_START = struct.pack("<IBB", 0xFD2FB528, 0x80, (17 - 10) << 3)
_FULL_STORED = STORED_HEADER.pack(0, STORED_BLOCK, STORED_BLOCK ^ 0xFFFF)
_FULL_RAW = (_RAW_BLOCK << 3).to_bytes(_RAW_BLOCK_HEADER, "little")


class Unwrapper:
    """The content of blocks, read from a window without decoding; the window begins where they do."""

    def __init__(self, window: Window, blocks: Iterator[Block]) -> None:
        self._window = window
        self._blocks = blocks
        self._heads = memoryview(bytearray(_MOST_BLOCKS * (_FRAME_HEADER.size + STORED_HEADER.size)))
        #: What is left of the block that the window is in.
        self._left = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer, or a part of it; 0 at the end. Raises ArchiveError for what are no such blocks."""
        done = min(self._left, len(buffer))
        self._left -= done
        views: list[memoryview] = [buffer[:done]]
        expected: list[bytes] = []
        used = 0
        for header, size in islice(self._blocks, _MOST_BLOCKS) if done < len(buffer) else ():
            taken = min(size, len(buffer) - done)
            views += [self._heads[used : used + len(header)], buffer[done : done + taken]]
            used += len(header)
            expected.append(header)
            done += taken
            self._left = size - taken
            if done == len(buffer):
                break
        offset = self._window.offset
        self._window.readv(views)
        if self._heads[:used] != b"".join(expected):
            self._window.volume.broken(offset, "what should be stored blocks are none")
        if done < len(buffer) and len(expected) < _MOST_BLOCKS and self._window.left:
            self._window.volume.broken(self._window.offset, "something follows the last of the stored blocks")
        return done


def stored_offset(start: int) -> int:
    """Where, from the first of stored blocks on, byte `start` is, or the header of the block that begins with it."""
    return start + STORED_HEADER.size * -(-start // STORED_BLOCK)


def stored_size(length: int) -> int:
    """How many bytes of content stored blocks of so many bytes in all hold."""
    full = STORED_HEADER.size + STORED_BLOCK
    return max(0, length - STORED_HEADER.size * -(-length // full))


def stored_blocks(size: int, start: int) -> Iterator[Block]:
    """The stored blocks (RFC 1951, 3.2.4) of `size` bytes of content, from byte `start` on, in the middle of one."""
    place = start - start % STORED_BLOCK
    while place < size:
        count = min(STORED_BLOCK, size - place)
        if place >= start:
            yield (STORED_HEADER.pack(0, count, count ^ 0xFFFF) if count < STORED_BLOCK else _FULL_STORED), count
        elif place + count > start:
            yield b"", place + count - start
        place += STORED_BLOCK


def raw_offset(start: int) -> int:
    """Where, from the first of raw frames on, byte `start` is, or the headers of the block that begins with it."""
    return start + _FRAME_HEADER.size * -(-start // _RAW_FRAME) + _RAW_BLOCK_HEADER * -(-start // _RAW_BLOCK)


def raw_blocks(size: int, start: int) -> Iterator[Block]:
    """The raw blocks (RFC 8878, 3.1.1.2), in frames of 64 MiB, of content from byte `start` on, as `stored_blocks`."""
    place = start - start % _RAW_BLOCK
    while place < size:
        frame = min(_RAW_FRAME, size - (place - place % _RAW_FRAME))
        count = min(_RAW_BLOCK, size - place)
        last = place % _RAW_FRAME + count == frame
        # Bit 0: the last block; bits 1 and 2: its type, 0 for raw; then its size.
        full = count == _RAW_BLOCK and not last
        header = _FULL_RAW if full else (count << 3 | last).to_bytes(_RAW_BLOCK_HEADER, "little")
        if place % _RAW_FRAME == 0:
            header = _FRAME_START + frame.to_bytes(4, "little") + header
        yield (header, count) if place >= start else (b"", place + count - start)
        place += _RAW_BLOCK


def is_raw(volume: Volume, entry: Entry) -> bool:
    """Whether a zstd file is in raw frames; its length says so, and its first frame, which is read."""
    if not entry.size or entry.length != raw_offset(entry.size):
        return False
    header, _ = next(raw_blocks(entry.size, 0))
    return volume.read(entry.offset, len(header)) == header
