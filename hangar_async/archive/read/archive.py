"""An archive that is read where it lies."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

from hangar_async.archive import index
from hangar_async.archive.index import Entry, Footer, Index
from hangar_async.archive.read.blocks import (
    Unwrapper,
    is_raw,
    raw_blocks,
    raw_offset,
    stored_blocks,
    stored_offset,
    stored_size,
)
from hangar_async.archive.read.decode import Decoder, Inflater, fill, frames
from hangar_async.archive.read.entry import EntryReader
from hangar_async.archive.read.footer import GZIP, SeekTable, compression_of, gzip_footer, read_seek_table, zstd_footer
from hangar_async.archive.read.parts import find_volume
from hangar_async.archive.read.volume import Volume, Window
from hangar_async.errors import ArchiveError

# An index of 300,000 files.
_MOST_INDEX = 64 << 20


class Archive:
    """An archive, whole or in parts; `index` is None for one that is not of our making, which `stream_files` reads.

    It holds nothing open, and any number of threads may read it. Made by `open_archive`.
    """

    def __init__(self, volume: Volume, compression: str, footer: Footer | None) -> None:
        self.volume = volume
        #: `gzip` or `zstd`.
        self.compression = compression
        self.footer = footer
        self.index = None if footer is None else _read_index(volume, compression, footer)

    @cached_property
    def entries(self) -> MappingProxyType[str, Entry]:
        """The files of the index by their names; none without an index."""
        return MappingProxyType({entry.name: entry for entry in self.index.entries} if self.index else {})

    def open(self, entry: Entry, start: int = 0) -> EntryReader:
        """Read a file's content from byte `start` on; the caller closes what is returned. Raises ArchiveError.

        No digest is checked. What is before `start` is decoded for nothing where the encoding leaves no other way:
        all of it for `deflate`, up to a frame of 2 MiB for `zstd` that is really compressed.
        """
        start = min(start, entry.size)
        offset, content, decoder = self._way_in(entry, start)
        reader = EntryReader(self.volume, entry, entry.offset + offset, entry.size - content, decoder)
        try:
            reader.skip(start - content)
        except BaseException:
            reader.close()
            raise
        return reader

    def read(self, entry: Entry, limit: int) -> bytes:
        """Return a small file whole; raises ArchiveError if it exceeds `limit` bytes or has another digest."""
        if entry.size > limit:
            self.volume.broken(entry.offset, f"{entry.name} has {entry.size} bytes, more than the {limit} expected")
        with self.open(entry) as reader:
            data = reader.readall()
        hasher = entry.digest.hasher()
        hasher.update(data)
        if hasher.hexdigest() != entry.digest.hex:
            self.volume.broken(entry.offset, f"{entry.name} has another content than its digest says")
        return data

    @cached_property
    def _seek_table(self) -> SeekTable:
        return read_seek_table(self.volume)

    def _way_in(self, entry: Entry, start: int) -> tuple[int, int, Callable[[Window], Decoder]]:
        """How far one can go without decoding, in the stream and in content, and what decodes from there on."""
        if entry.encoding == "stored":
            size = stored_size(entry.length)
            return stored_offset(start), start, lambda window: Unwrapper(window, stored_blocks(size, start))
        if entry.encoding == "deflate":
            return 0, 0, Inflater
        if is_raw(self.volume, entry):
            return raw_offset(start), start, lambda window: Unwrapper(window, raw_blocks(entry.size, start))
        offset, content = self._seek_table.jump(entry.offset, start) if start else (0, 0)
        return offset, content, frames


def open_archive(path: Path) -> Archive:
    """Open an archive by its name, with or without `.partN`; raises ArchiveError, StorageError."""
    volume = find_volume(path)
    compression = compression_of(volume)
    if compression is None:
        raise ArchiveError(
            f"{volume.parts[0].path} is neither gzip nor zstd",
            path=str(volume.parts[0].path),
            advice="give the name of an archive, of one of its parts, or of a cache directory",
        )
    return Archive(volume, compression, gzip_footer(volume) if compression == GZIP else zstd_footer(volume))


def _read_index(volume: Volume, compression: str, footer: Footer) -> Index:
    if not 0 < footer.length <= _MOST_INDEX or footer.offset + footer.length > volume.size:
        volume.broken(volume.size, "the archive's end says that its index is where it cannot be")
    data = bytearray()
    buffer = memoryview(bytearray(1 << 18))
    with volume.open(footer.offset, footer.offset + footer.length) as window:
        decoder = Inflater(window) if compression == GZIP else frames(window)
        while count := fill(decoder, window, buffer):
            data += buffer[:count]
            if len(data) > _MOST_INDEX:
                volume.broken(footer.offset, "the archive's index is too large")
    try:
        found = index.decode(data, footer.offset)
    except ValueError as error:
        volume.broken(footer.offset, f"the archive's index is wrong: {error}")
    if found.compression != compression:
        volume.broken(footer.offset, f"the archive's index is of a {found.compression} archive")
    return found
