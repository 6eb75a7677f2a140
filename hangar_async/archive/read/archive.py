"""An archive that is read in place: its footer, the table of its zstd frames, and its files."""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate, pairwise
from pathlib import Path

from hangar_async.archive import formats, index, tar_header
from hangar_async.archive.entries import ArchiveEntry, EntriesByName, PackedEntries
from hangar_async.archive.index import ArchiveIndex, Footer
from hangar_async.archive.names import told_name
from hangar_async.archive.read.decode import EntryReader, Inflater, PieceReader, Unwrapper, decode_units, frames
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.volume import Volume, Window
from hangar_async.errors import ArchiveError, StorageError
from hangar_async.oci import Reader, Verifier

# Enough for a million frames; without the table, frames are decoded instead of skipped.
_MAX_TABLE = 8 << 20
#: So often an archive that is replaced meanwhile is opened.
_MOST_TRIES = 10


def compression_of(volume: Volume) -> str | None:
    """Return the format by the first bytes, one of `formats`, or None."""
    start = volume.read(0, tar_header.BLOCK)
    if int.from_bytes(start[:4], "little") in formats.SKIPPABLE_MAGIC:
        return formats.ZSTD
    if len(start) == tar_header.BLOCK and tar_header.parse(start) is not None and any(start):
        return formats.TAR
    return next((name for magic, name in formats.READ_MAGIC.items() if start.startswith(magic)), None)


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


#: Only these formats can have a footer.
_FOOTERS = {formats.GZIP: gzip_footer, formats.ZSTD: zstd_footer}
#: Pieces of a file from one of them on: the start of that one in the data and in content; then of each the end in the
#: stream, and the size of its content.
Pieces = tuple[int, int, Iterator[tuple[int, int]]]


def deflated_pieces(entry: ArchiveEntry, start: int) -> Pieces | None:
    """Return the pieces of a file from the one with byte `start` on; None where the index has none of it."""
    if not entry.pieces:
        return None
    first = min(start // formats.DEFLATE_PIECE, len(entry.pieces))
    offset = entry.pieces[first - 1] if first else 0
    content = first * formats.DEFLATE_PIECE
    ends = (entry.offset + end for end in (*entry.pieces[first:], entry.length))
    sizes = (min(formats.DEFLATE_PIECE, entry.size - at) for at in range(content, entry.size, formats.DEFLATE_PIECE))
    return offset, content, zip(ends, sizes, strict=True)


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

    def pieces(self, entry: ArchiveEntry, start: int) -> Pieces | None:
        """Return the frames of a file from the one with byte `start` on; None where it is one frame, or not whole ones.

        The frames are the same for each `start`.
        """
        offsets, contents = self._compressed, self._content
        first, last = (bisect_left(offsets, offset) for offset in (entry.offset, entry.offset + entry.length))
        if last - first < 2 or last == len(offsets):
            return None
        bounds = (offsets[first], offsets[last], contents[last] - contents[first])
        if bounds != (entry.offset, entry.offset + entry.length, entry.size):
            return None
        middle = bisect_right(contents, contents[first] + start, first, last) - 1
        ends = ((offsets[number + 1], contents[number + 1] - contents[number]) for number in range(middle, last))
        return offsets[middle] - entry.offset, contents[middle] - contents[first], ends


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


class Archive:
    """An archive, whole or in parts; `index` is None for one that another program made, or unpacked in part.

    It keeps no file open, and any number of threads may read it. Made by `open_archive`.
    """

    def __init__(self, volume: Volume, compression: str, footer: Footer | None) -> None:
        self.volume = volume
        #: One of `formats`.
        self.compression = compression
        self.footer = footer
        self.index = None if footer is None else _read_index(volume, compression, footer)

    @cached_property
    def entries(self) -> Mapping[str, ArchiveEntry]:
        """The files of the index by their names; none without an index."""
        return EntriesByName(self.index.entries if self.index else PackedEntries())

    def open(self, entry: ArchiveEntry, start: int = 0) -> EntryReader:
        """Read a file's content from byte `start` on; the caller closes the reader. Raises ArchiveError.

        No digest is checked. Content before `start` is decoded and dropped where the encoding needs that: up to a piece
        of 1 MiB for `deflate`, all of it without pieces in the index; up to a frame of 2 MiB for compressed `zstd`.
        """
        start = min(start, entry.size)
        offset, content, decode = self._nearest(entry, start)
        window = self.volume.open(entry.offset + offset, entry.offset + entry.length)
        reader = EntryReader(entry, entry.size - content, window, decode)
        try:
            reader.skip(start - content)
        except BaseException:
            reader.close()
            raise
        return reader

    def read(self, entry: ArchiveEntry, limit: int) -> bytes:
        """Return a small file whole; raises ArchiveError if it exceeds `limit` bytes or has another digest."""
        if entry.size > limit:
            self.volume.broken(entry.offset, f"{entry.name} has {entry.size} bytes, more than the {limit} expected")
        with self.open(entry) as reader:
            data = reader.readall()
        verifier = Verifier(entry.digest, entry.size)
        verifier.update(data)
        if not verifier.matches:
            self.volume.broken(entry.offset, f"{entry.name} has another content than its digest says")
        return data

    @cached_property
    def _seek_table(self) -> SeekTable:
        return read_seek_table(self.volume)

    def _nearest(self, entry: ArchiveEntry, start: int) -> tuple[int, int, Callable[[Window], Reader]]:
        """Return the nearest point at which decoding can begin, in the data and in content, and its decoder."""
        if entry.encoding == "stored":
            stored = formats.stored_blocks(formats.stored_size(entry.length), start)
            return formats.stored_offset(start), start, lambda window: Unwrapper(window, stored)
        if entry.encoding == "zstd" and self._is_raw(entry):
            raw = formats.raw_blocks(entry.size, start)
            return formats.raw_offset(start), start, lambda window: Unwrapper(window, raw)
        deflated = entry.encoding == "deflate"
        decode: Callable[[Window], Reader] = Inflater if deflated else frames
        found = deflated_pieces(entry, start) if deflated else self._seek_table.pieces(entry, start)
        if found is None:
            return 0, 0, decode
        offset, content, pieces = found
        return offset, content, lambda window: PieceReader(window, pieces, decode)

    def _is_raw(self, entry: ArchiveEntry) -> bool:
        """Tell whether a zstd file has raw frames, by its length and the header of its first frame, which is read."""
        if not entry.size or entry.length != formats.raw_offset(entry.size):
            return False
        header, _ = next(formats.raw_blocks(entry.size))
        return self.volume.read(entry.offset, len(header)) == header


def open_archive(path: Path, check_interrupted: Callable[[], None] = lambda: None) -> Archive:
    """Open an archive by its name, with or without `.partN`; raises ArchiveError, StorageError.

    One that another process replaces meanwhile is opened again. See `find_volume` for `check_interrupted`.
    """
    for _ in range(_MOST_TRIES):
        volume = find_volume(path, check_interrupted)
        try:
            return _open(volume)
        except (ArchiveError, StorageError):
            if find_volume(path, check_interrupted) == volume:
                raise
    return _open(find_volume(path, check_interrupted))


def _open(volume: Volume) -> Archive:
    compression = compression_of(volume)
    if compression is None:
        name = told_name(volume.parts[0].path)
        if not any(volume.read(0, tar_header.BLOCK)):
            advice = "copy it here again; if it is the same at its source, make it there once more"
            raise ArchiveError(
                f"{name} begins with zeros: it has no files, or was not copied whole", path=name, advice=advice
            )
        raise ArchiveError(
            f"{name} is no archive: neither a tar, plain or compressed, nor a zip",
            path=name,
            advice="give the name of an archive, of one of its parts, or of a cache directory",
        )
    read_footer = _FOOTERS.get(compression)
    return Archive(volume, compression, read_footer(volume) if read_footer else None)


def _read_index(volume: Volume, compression: str, footer: Footer) -> ArchiveIndex:
    end = footer.offset + footer.length
    limit = index.most_bytes(footer.offset)
    if not 0 < footer.length <= limit or end > volume.size:
        volume.broken(volume.size, "the end of the archive has an impossible position of its index")
    data = decode_units(volume, footer.offset, end, compression, limit, "the archive's index is too large")
    try:
        archive_index = index.decode(data, footer.offset)
    except ValueError as error:
        volume.broken(footer.offset, f"the archive's index is wrong: {error}")
    if archive_index.compression != compression:
        volume.broken(footer.offset, f"the archive's index is of a {archive_index.compression} archive")
    return archive_index
