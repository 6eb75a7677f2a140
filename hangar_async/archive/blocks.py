"""Content that stands in an archive as it is: in blocks, each after a small header; for the writer and the reader.

Sources: RFC 1951, 3.2.4 (stored blocks); RFC 8878, 3.1.1.1 and 3.1.1.2 (frames and raw blocks).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator

from hangar_async.archive.formats import ZSTD_MAGIC

#: A header and the number of bytes of content after it. A first block that begins in its middle has no header.
Block = tuple[bytes, int]
#: A stored block of DEFLATE: its type with the padding after it, its length, the complement of that. All but the last
#: one of a file have STORED_BLOCK bytes of content.
STORED_HEADER = struct.Struct("<BHH")
STORED_BLOCK = 65535
#: The bytes of content of a zstd frame of raw blocks, and of each block; the last ones of a file may be shorter.
RAW_FRAME = 64 << 20
RAW_BLOCK = 128 << 10
#: Magic number, a content size of four bytes (0x80), and a window of 128 KiB, the largest block.
_FRAME_START = ZSTD_MAGIC + bytes((0x80, (17 - 10) << 3))
_FRAME_HEADER_SIZE = len(_FRAME_START) + 4
_RAW_HEADER_SIZE = 3
#: The most bytes of a header.
MAX_HEADER = _FRAME_HEADER_SIZE + _RAW_HEADER_SIZE


def stored_blocks(size: int, start: int = 0) -> Iterator[Block]:
    """Divide `size` bytes of content into stored blocks, and return these from byte `start` on."""
    return _blocks(size, start, STORED_BLOCK, lambda _, count: STORED_HEADER.pack(0, count, count ^ 0xFFFF))


def stored_offset(start: int) -> int:
    """Return the offset, from the first stored block on, of byte `start`, or of the header of the block it begins."""
    return start + STORED_HEADER.size * -(-start // STORED_BLOCK)


def stored_size(length: int) -> int:
    """Return the size of the content that stored blocks of `length` bytes in all have."""
    full = STORED_HEADER.size + STORED_BLOCK
    return max(0, length - STORED_HEADER.size * -(-length // full))


def raw_blocks(size: int, start: int = 0) -> Iterator[Block]:
    """Divide `size` bytes of content into raw blocks in frames, and return these from byte `start` on."""

    def header(position: int, count: int) -> bytes:
        inside = position % RAW_FRAME
        frame = min(RAW_FRAME, size - position + inside)
        # Bit 0: the last block; bits 1 and 2: its type, 0 for raw; then its size.
        block = (count << 3 | (inside + count == frame)).to_bytes(_RAW_HEADER_SIZE, "little")
        return block if inside else _FRAME_START + frame.to_bytes(4, "little") + block

    return _blocks(size, start, RAW_BLOCK, header)


def raw_offset(start: int) -> int:
    """Return the offset, from the first raw frame on, of byte `start`, or of the headers of the block it begins."""
    return start + _FRAME_HEADER_SIZE * -(-start // RAW_FRAME) + _RAW_HEADER_SIZE * -(-start // RAW_BLOCK)


def _blocks(size: int, start: int, block: int, header: Callable[[int, int], bytes]) -> Iterator[Block]:
    for position in range(start - start % block, size, block):
        end = min(position + block, size)
        if position >= start:
            yield header(position, end - position), end - position
        elif end > start:
            yield b"", end - start
