"""Where an archive's index is: found from the last bytes of the stream."""

from __future__ import annotations

import struct
from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, pairwise

from hangar_async.archive.index import Footer
from hangar_async.archive.read.volume import Volume

GZIP = "gzip"
ZSTD = "zstd"
_MAGIC = {b"\x1f\x8b\x08": GZIP, b"\x28\xb5\x2f\xfd": ZSTD}
SKIPPABLE_MAGIC = range(0x184D2A50, 0x184D2A60)
_FOOTER_SIZE = 24
# The whole second member but the 24 bytes themselves; see gzip_codec.
_MEMBER_START = b"\x1f\x8b\x08\x04\x00\x00\x00\x00\x00\xff\x1c\x00HG\x18\x00"
_MEMBER_END = b"\x03\x00" + bytes(8)
_FRAME_START = struct.pack("<II", 0x184D2A5D, _FOOTER_SIZE)
_SEEK_FOOTER = struct.Struct("<IBI")
_SEEKABLE_MAGIC = 0x8F92EAB1
_SEEK_TABLE_MAGIC = 0x184D2A5E
SEEK_TABLE_START = struct.pack("<I", _SEEK_TABLE_MAGIC)
_SEEK_ENTRY = struct.Struct("<II")
# Of a million frames; without the table, frames are decoded instead of jumped over.
_MOST_TABLE = 8 << 20


def compression_of(volume: Volume) -> str | None:
    """Tell the format from the first bytes: `gzip`, `zstd`, or None."""
    start = volume.read(0, 4)
    if len(start) == 4 and int.from_bytes(start, "little") in SKIPPABLE_MAGIC:
        return ZSTD
    return next((name for magic, name in _MAGIC.items() if start.startswith(magic)), None)


def gzip_footer(volume: Volume) -> Footer | None:
    """Read the footer of a gzip archive; None without one."""
    size = len(_MEMBER_START) + _FOOTER_SIZE + len(_MEMBER_END)
    last = volume.read(max(0, volume.size - size), size)
    if not (last.startswith(_MEMBER_START) and last.endswith(_MEMBER_END)):
        return None
    return Footer.of(last[len(_MEMBER_START) : -len(_MEMBER_END)])


def zstd_footer(volume: Volume) -> Footer | None:
    """Read the footer of a zstd archive; None without one."""
    table = _table_start(volume)
    if table is None:
        return None
    frame = volume.read(max(0, table - len(_FRAME_START) - _FOOTER_SIZE), len(_FRAME_START) + _FOOTER_SIZE)
    return Footer.of(frame[len(_FRAME_START) :]) if frame.startswith(_FRAME_START) else None


class SeekTable:
    """The frames of a zstd archive: where each begins, in the stream and in the tar."""

    def __init__(self, data: bytes = b"") -> None:
        entries = _SEEK_ENTRY.iter_unpack
        self._compressed = array("Q", accumulate((size for size, _ in entries(data)), initial=0))
        self._content = array("Q", accumulate((size for _, size in entries(data)), initial=0))

    def frames(self) -> Iterator[tuple[int, int, int]]:
        """Go through the frames: where each begins, its length, and that of its content."""
        for (start, end), (before, after) in zip(pairwise(self._compressed), pairwise(self._content), strict=True):
            yield start, end - start, after - before

    def jump(self, offset: int, count: int) -> tuple[int, int]:
        """From the frame at `offset` go on by whole frames of at most `count` bytes of content in all.

        Returns how far that is in the stream, and in content.
        """
        here = bisect_right(self._compressed, offset) - 1
        if self._compressed[here] != offset:
            return 0, 0
        there = bisect_right(self._content, self._content[here] + count) - 1
        return self._compressed[there] - offset, self._content[there] - self._content[here]


def read_seek_table(volume: Volume) -> SeekTable:
    """Read the seek table of a zstd archive; an empty one where there is none, or a huge one."""
    start = _table_start(volume)
    if start is None or volume.size - start > _MOST_TABLE:
        return SeekTable()
    return SeekTable(volume.read(start + 8, volume.size - start - 8 - _SEEK_FOOTER.size))


def _table_start(volume: Volume) -> int | None:
    last = volume.read(max(0, volume.size - _SEEK_FOOTER.size), _SEEK_FOOTER.size)
    if len(last) != _SEEK_FOOTER.size:
        return None
    count, descriptor, magic = _SEEK_FOOTER.unpack(last)
    length = count * _SEEK_ENTRY.size + _SEEK_FOOTER.size
    start = volume.size - length - 8
    if magic != _SEEKABLE_MAGIC or descriptor or start < 0:
        return None
    return start if volume.read(start, 8) == struct.pack("<II", _SEEK_TABLE_MAGIC, length) else None
