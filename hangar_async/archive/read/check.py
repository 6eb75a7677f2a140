"""Whether an archive is what it says: its parts against their digests, its index against its tar headers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import zstandard

from hangar_async.archive import tar_header
from hangar_async.archive.names import ARCHIVE_INDEX
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import Inflater, decoding, fill, frames
from hangar_async.archive.read.footer import GZIP, SEEK_TABLE_START, SKIPPABLE_MAGIC, ZSTD, read_seek_table
from hangar_async.archive.read.stream import stream_files
from hangar_async.archive.read.tar_reader import TarError, TarReader
from hangar_async.archive.read.volume import Part, Volume
from hangar_async.errors import ArchiveError

_PIECE = 1 << 20
#: How much may lie between the files in all, beside what is usual for each of them.
_MOST_HEADERS = 64 << 20
_USUAL = 8 << 10
_GZIP_HEADER = 10
#: The longest header of a zstd frame (RFC 8878, 3.1.1).
_FRAME_HEADER = 18


def check_part(volume: Volume, part: Part, tick: Callable[[int], None]) -> None:
    """Hash a part, if `NAME.sha256` has a digest for it; `tick` is told the bytes of each piece.

    Raises ArchiveError if it has another one.
    """
    if part.digest is None:
        return
    hasher = hashlib.sha256()
    buffer = memoryview(bytearray(_PIECE))
    with volume.open(part.start, part.start + part.size) as window:
        while count := window.readinto(buffer):
            hasher.update(buffer[:count])
            tick(count)
    if hasher.hexdigest() != part.digest:
        raise ArchiveError(
            f"{part.path} is damaged: its digest is not the one in {volume.path.name}.sha256", path=str(part.path)
        )


def check_index(archive: Archive, goes_on: Callable[[], None] = lambda: None) -> None:
    """Compare the index with the headers of the tar, so that every program finds there what we find.

    Reads the headers alone; `goes_on` is called before those of each file. Raises ArchiveError.
    """
    position = _GZIP_HEADER if archive.compression == GZIP else 0
    size = 0
    space = _MOST_HEADERS + _USUAL * len(archive.entries)
    for entry in archive.entries.values():
        goes_on()
        headers = _decode(archive, position, entry.offset, space)
        _check_before(archive.volume, position, headers, size, entry.name, entry.size)
        position, size = entry.offset + entry.length, entry.size
        space -= len(headers)
    if archive.footer is not None:
        headers = _decode(archive, position, archive.footer.offset, space)
        _check_before(archive.volume, position, headers, size, ARCHIVE_INDEX, None)


def check_stream(archive: Archive, goes_on: Callable[[], None]) -> None:
    """Decode an archive from the start to the end, as every other program does: checksums, tar, table of frames.

    For one whose parts have no digests to be compared with. `goes_on` is called between pieces. Raises ArchiveError.
    """
    for _ in stream_files(archive, goes_on):
        pass
    if archive.compression == ZSTD:
        _check_seek_table(archive.volume, goes_on)


def _check_seek_table(volume: Volume, goes_on: Callable[[], None]) -> None:
    end = 0
    buffer = bytearray(_FRAME_HEADER)
    with volume.open() as window:
        for start, length, size in read_seek_table(volume).frames():
            goes_on()
            window.seek(start)
            head = bytes(buffer[: window.readinto(buffer)])
            magic, content = int.from_bytes(head[:4], "little"), 0
            if magic not in SKIPPABLE_MAGIC:
                with decoding(window):
                    content = zstandard.frame_content_size(head)
            if content not in (size, zstandard.CONTENTSIZE_UNKNOWN):
                volume.broken(start, f"the table of frames says {size} bytes of content, and the frame {content}")
            end = start + length
    if end and volume.read(end, 4) != SEEK_TABLE_START:
        volume.broken(end, "the table of frames does not fit the frames")


def _decode(archive: Archive, start: int, end: int, space: int) -> bytearray:
    data = bytearray()
    buffer = memoryview(bytearray(1 << 16))
    with archive.volume.open(start, end) as window:
        decoder = Inflater(window) if archive.compression == GZIP else frames(window)
        while count := fill(decoder, window, buffer):
            data += buffer[:count]
            if len(data) > space:
                archive.volume.broken(start, "the index leaves out what is here")
    return data


def _check_before(volume: Volume, start: int, headers: bytearray, padded: int, name: str, size: int | None) -> None:
    try:
        _check_headers(headers, padded, name, size)
    except TarError as error:
        volume.broken(start, f"the tar headers before {name} are wrong: {error}")


class _Headers:
    def __init__(self, data: memoryview) -> None:
        self._rest = data

    def fill(self, buffer: memoryview) -> int:
        taken = self._rest[: len(buffer)]
        buffer[: len(taken)] = taken
        self._rest = self._rest[len(taken) :]
        return len(taken)

    def __len__(self) -> int:
        return len(self._rest)


def _check_headers(data: bytearray, padded: int, name: str, size: int | None) -> None:
    """Compare what stands between two files: padding, directories, links, and the header of the second file."""
    padding = -padded % tar_header.BLOCK
    if any(data[:padding]) or len(data) < padding:
        raise TarError("the padding is not right")
    headers = _Headers(memoryview(data)[padding:])
    for member in TarReader(headers):
        if member.kind == tar_header.FILE:
            if member.name != name or size not in (None, member.size):
                raise TarError(f"they are of {member.name[:200]!r} with {member.size} bytes")
            if len(headers):
                raise TarError("more follows where the data should begin")
            return
    raise TarError("there are none of it")
