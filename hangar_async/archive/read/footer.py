"""The footer of an archive, read from the last bytes of the stream, and the table of its zstd frames."""

from array import array
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate, pairwise

from hangar_async.archive import formats
from hangar_async.archive.index import Footer
from hangar_async.archive.read.volume import Volume

# Enough for a million frames; without the table, frames are decoded instead of skipped.
_MAX_TABLE = 8 << 20


def compression_of(volume: Volume) -> str | None:
    """Return the format by the first bytes: `gzip`, `zstd`, or None."""
    start = volume.read(0, 4)
    if len(start) == 4 and int.from_bytes(start, "little") in formats.SKIPPABLE_MAGIC:
        return formats.ZSTD
    return next((name for magic, name in formats.MAGIC.items() if start.startswith(magic)), None)


def gzip_footer(volume: Volume) -> Footer | None:
    """Read the footer of a gzip archive; None without one."""
    start, end = formats.FOOTER_MEMBER_START, formats.FOOTER_MEMBER_END
    last = volume.read_end(len(start) + formats.FOOTER_SIZE + len(end))
    return Footer.of(last[len(start) : -len(end)]) if last.startswith(start) and last.endswith(end) else None


def zstd_footer(volume: Volume) -> Footer | None:
    """Read the footer of a zstd archive; None without one."""
    table = _table_start(volume)
    if table is None:
        return None
    start = formats.FOOTER_FRAME_START
    size = len(start) + formats.FOOTER_SIZE
    frame = volume.read(max(0, table - size), size)
    return Footer.of(frame[len(start) :]) if frame.startswith(start) else None


class SeekTable:
    """The frames of a zstd archive: the start of each, in the stream and in the tar."""

    def __init__(self, data: bytes = b"") -> None:
        entries = formats.SEEK_ENTRY.iter_unpack
        self._compressed = array("Q", accumulate((size for size, _ in entries(data)), initial=0))
        self._content = array("Q", accumulate((size for _, size in entries(data)), initial=0))

    def frames(self) -> Iterator[tuple[int, int, int]]:
        """Yield the start of each frame, its length, and that of its content."""
        for (start, end), (before, after) in zip(pairwise(self._compressed), pairwise(self._content), strict=True):
            yield start, end - start, after - before

    def jump(self, offset: int, count: int) -> tuple[int, int]:
        """Skip whole frames from the one at `offset` on, of at most `count` bytes of content in all.

        Returns the distance in the stream, and in content.
        """
        first = bisect_right(self._compressed, offset) - 1
        if self._compressed[first] != offset:
            return 0, 0
        last = bisect_right(self._content, self._content[first] + count) - 1
        return self._compressed[last] - offset, self._content[last] - self._content[first]


def read_seek_table(volume: Volume) -> SeekTable:
    """Read the seek table of a zstd archive; an empty one where it is missing or too large."""
    start = _table_start(volume)
    if start is None or volume.size - start > _MAX_TABLE:
        return SeekTable()
    start += formats.SKIPPABLE.size
    return SeekTable(volume.read(start, volume.size - start - formats.SEEK_FOOTER.size))


def _table_start(volume: Volume) -> int | None:
    last = volume.read_end(formats.SEEK_FOOTER.size)
    if len(last) != formats.SEEK_FOOTER.size:
        return None
    count, descriptor, magic = formats.SEEK_FOOTER.unpack(last)
    length = count * formats.SEEK_ENTRY.size + len(last)
    start = volume.size - length - formats.SKIPPABLE.size
    if magic != formats.SEEKABLE_MAGIC or descriptor or start < 0 or length >> 32:
        return None
    header = formats.SKIPPABLE.pack(formats.SEEK_TABLE_MAGIC, length)
    return start if volume.read(start, len(header)) == header else None
