"""A zip archive, as Hangar 1.7 and later make it, read in place; what it says of itself is hostile until it is checked.

Python's `zipfile` does not hold the bounds of this package: it reads the list of the files as long as that claims to
be, before anything can be refused, and takes names twice, and files that overlap. It opens stored data at a byte by
reading all that is before it (up to Python 3.11), and its readers share one file and a lock. Its entries would stand in
memory beside those here, with as many bytes (577 and 535 each, measured), and the place of the data would still have to
be read from the header of each file.
Source: PKWARE's APPNOTE 6.3.10, 4.3 to 4.5.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Collection, Iterator, Mapping

from hangar_async.archive import formats
from hangar_async.archive.entries import ArchiveEntry
from hangar_async.archive.read.decode import DECODE_SIZE, EntryReader, as_they_are, opened_files
from hangar_async.archive.read.volume import Volume, Window
from hangar_async.archive.tar_header import most_headers
from hangar_async.layout.files import LayoutFile

_END = struct.Struct("<4s4H2LH")
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_FILE = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_EXTRA = struct.Struct("<HH")
#: The bytes of a directory of any archive; beyond, it may have a quarter of those of the archive.
_SMALL_DIRECTORY = 64 << 20
_DIRECTORY_RATIO = 4
_LONGEST_COMMENT = 0xFFFF
_MAX_NAME = 1000
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 1
_UNKNOWN = 0xFFFFFFFF
_ZIP64 = 1


class ZipLayout:
    """The files of a zip archive, each of which can be read alone; raises ArchiveError, StorageError when made."""

    is_seekable = True
    own = False

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._entries: dict[str, ArchiveEntry] = {}
        for entry in _read_directory(volume):
            if entry.name in self._entries:
                volume.broken(entry.offset, f"{entry.name!r} is there twice")
            self._entries[entry.name] = entry
        if sum(entry.length for entry in self._entries.values()) > volume.size:
            volume.broken(volume.size, "its files take more bytes than it has: they overlap")
        self._sizes = {name: entry.size for name, entry in self._entries.items()}

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file, by its name, in stored order."""
        return self._sizes

    def stored_size(self) -> int:
        """Return the bytes of the archive."""
        return self._volume.size

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in stored order."""
        return opened_files(self._sizes, self.open, names)

    def open(self, name: str, start: int = 0) -> EntryReader:
        """Open the file of this name at byte `start`; what is before it in a compressed one is decoded and dropped."""
        entry = self._entries[name]
        start = min(start, entry.size)
        offset = self._data_offset(entry)
        end = offset + entry.length
        if entry.encoding == "stored":
            return EntryReader(entry, entry.size - start, self._volume.open(offset + start, end), as_they_are)
        reader = EntryReader(entry, entry.size, self._volume.open(offset, end), _Deflated)
        reader.skip(start)
        return reader

    def _data_offset(self, entry: ArchiveEntry) -> int:
        """Return the position of the data of a file, behind its own header, which must be of the same file."""
        raw = self._volume.read(entry.offset, _LOCAL.size)
        if len(raw) < _LOCAL.size or not raw.startswith(b"PK\x03\x04"):
            self._volume.broken(entry.offset, f"the header of {entry.name!r} is not here")
        name_size, extra_size = map(int, _LOCAL.unpack(raw)[-2:])
        if _text(self._volume.read(entry.offset + _LOCAL.size, name_size)) != entry.name:
            self._volume.broken(entry.offset, f"the header here is not that of {entry.name!r}")
        return entry.offset + _LOCAL.size + name_size + extra_size


class _Deflated:
    """A DEFLATE stream of a window, decoded to its last block."""

    def __init__(self, window: Window) -> None:
        self._window = window
        self._inflate = formats.inflater()
        self._input = b""

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of a buffer; 0 at the end. Raises EOFError for data without end."""
        while not self._inflate.eof:
            self._input = self._input or self._window.read(DECODE_SIZE)
            ended = not self._input
            data: bytes = self._inflate.decompress(self._input, len(buffer))
            self._input = self._inflate.unconsumed_tail
            if data:
                buffer[: len(data)] = data
                return len(data)
            if ended and not self._inflate.eof:
                raise EOFError("the data end too early")
        return 0


def _read_directory(volume: Volume) -> Iterator[ArchiveEntry]:
    """Read the central directory: the regular files, in its order; raises ArchiveError."""
    start, size, count = _find_directory(volume)
    if size > max(_SMALL_DIRECTORY, volume.size // _DIRECTORY_RATIO) or start + size > volume.size:
        volume.broken(start, "the list of its files has an impossible size")
    if count > (most := most_headers(volume.size)):
        volume.broken(start, f"it has {count:,} files, and at most {most:,} are taken")
    records = io.BytesIO(volume.read(start, size))
    for _ in range(count):
        fields = records.read(_FILE.size)
        if len(fields) < _FILE.size or not fields.startswith(b"PK\x01\x02"):
            volume.broken(start + records.tell(), "the list of its files is damaged")
        entry = _read_entry(volume, _FILE.unpack(fields), records)
        if entry is not None:
            yield entry


def _find_directory(volume: Volume) -> tuple[int, int, int]:
    """Return the start, the size and the number of files of the central directory."""
    last = volume.read_end(_END.size + _LONGEST_COMMENT)
    at = last.rfind(b"PK\x05\x06")
    if at < 0 or len(last) - at < _END.size:
        volume.broken(volume.size, "its end is missing: it was cut")
    _, _, _, _, count, size, start, _ = _END.unpack_from(last, at)
    end = volume.size - len(last) + at
    locator = volume.read(max(0, end - _LOCATOR64.size), _LOCATOR64.size)
    if _UNKNOWN in (size, start) or count == 0xFFFF:
        if len(locator) < _LOCATOR64.size or not locator.startswith(b"PK\x06\x07"):
            volume.broken(end, "the position of the list of its files is missing")
        record = volume.read(_LOCATOR64.unpack(locator)[2], _END64.size)
        if len(record) < _END64.size or not record.startswith(b"PK\x06\x06"):
            volume.broken(end, "the position of the list of its files is wrong")
        count, size, start = _END64.unpack(record)[-3:]
    return start, size, count


def _read_entry(volume: Volume, fields: tuple[int, ...], records: io.BytesIO) -> ArchiveEntry | None:
    """Read one record of the directory after its fixed fields; None for a directory of files."""
    flags, method, length, size = fields[3], fields[4], fields[8], fields[9]
    name_size, extra_size, comment_size, offset = fields[10], fields[11], fields[12], fields[16]
    name = _text(records.read(name_size))
    size, length, offset = _full_sizes(records.read(extra_size), size, length, offset)
    records.seek(comment_size, io.SEEK_CUR)

    if problem := _problem(volume, name, flags, method, size, length, offset):
        volume.broken(min(offset, volume.size), f"{name[:200]!r} {problem}")
    if name.endswith("/"):
        return None
    return ArchiveEntry.without_index(name, size, offset, length, "stored" if method == _STORED else "deflate")


def _problem(volume: Volume, name: str, flags: int, method: int, size: int, length: int, offset: int) -> str:
    """Return the reason why a record is refused, "" for none."""
    if not name or len(name) > _MAX_NAME or name.startswith("/") or ".." in name.split("/"):
        return "leads out of the archive, or is too long"
    if flags & _ENCRYPTED or method not in (_STORED, _DEFLATED):
        return "is encrypted, or compressed in a way that no archive of images is"
    is_possible = offset + length <= volume.size and (method != _STORED or size == length)
    return "" if is_possible else "has an impossible position or size"


def _full_sizes(extra: bytes, *values: int) -> tuple[int, int, int]:
    """Replace the sizes and the offset that do not fit into their fields by those of the zip64 field (4.5.3)."""
    found = list(values)
    while len(extra) >= _EXTRA.size:
        kind, length = _EXTRA.unpack_from(extra)
        field, extra = extra[_EXTRA.size : _EXTRA.size + length], extra[_EXTRA.size + length :]
        if kind == _ZIP64:
            for number, value in enumerate(found):
                if value == _UNKNOWN and len(field) >= 8:
                    found[number], field = int.from_bytes(field[:8], "little"), field[8:]
    size, length, offset = found
    return size, length, offset


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
