"""Checks of an archive: its parts against their digests, its index against its tar headers."""

import io
from collections.abc import Callable

import zstandard

from hangar_async.archive import formats, tar_header
from hangar_async.archive.names import ARCHIVE_INDEX, CHECKSUMS_SUFFIX
from hangar_async.archive.read.archive import Archive, read_seek_table
from hangar_async.archive.read.decode import decode_units, decoding
from hangar_async.archive.read.layout import stream_files
from hangar_async.archive.read.tar_reader import TarError, TarReader
from hangar_async.archive.read.volume import Part, Volume
from hangar_async.errors import ArchiveError
from hangar_async.oci import PIECE, Digest, Verifier, read_pieces

#: The most bytes between the files in all, beside the usual ones for each of them.
_MAX_HEADERS = 64 << 20
_USUAL_HEADERS = 8 << 10
#: The longest header of a zstd frame (RFC 8878, 3.1.1).
_MAX_FRAME_HEADER = 18


def check_part(volume: Volume, part: Part, report: Callable[[int], None]) -> None:
    """Hash a part, if `NAME.sha256` has a digest for it; `report` gets the number of bytes of each piece.

    Raises ArchiveError if the digest differs.
    """
    if part.digest is None:
        return
    verifier = Verifier(Digest("sha256", part.digest), part.size)
    with volume.open(part.start, part.start + part.size) as window:
        for piece in read_pieces(window, memoryview(bytearray(PIECE))):
            verifier.update(piece)
            report(len(piece))
    if not verifier.matches:
        raise ArchiveError(
            f"{part.path} is damaged: its digest is not the one in {volume.path.name}{CHECKSUMS_SUFFIX}",
            path=str(part.path),
        )


def check_index(archive: Archive, check_interrupted: Callable[[], None] = lambda: None) -> None:
    """Compare the index with the headers of the tar, so that every program finds the same files.

    Only the headers are read; `check_interrupted` is called before those of each file. Raises ArchiveError.
    """
    if archive.footer is None:
        return
    position = len(formats.GZIP_HEADER) if archive.compression == formats.GZIP else 0
    padding = 0
    limit = _MAX_HEADERS + _USUAL_HEADERS * len(archive.entries)
    files = [(entry.name, entry.size, entry.offset, entry.length) for entry in archive.entries.values()]
    for name, size, offset, length in [*files, (ARCHIVE_INDEX, None, archive.footer.offset, 0)]:
        check_interrupted()
        headers = decode_units(
            archive.volume, position, offset, archive.compression, limit, "the index leaves out files that are here"
        )
        try:
            _check_headers(headers, padding, name, size)
        except TarError as error:
            archive.volume.broken(position, f"the tar headers before {name} are wrong: {error}")
        limit -= len(headers)
        position, padding = offset + length, -(size or 0) % tar_header.BLOCK


def check_stream(archive: Archive, check_interrupted: Callable[[], None]) -> None:
    """Decode an archive from the start to the end, as other programs do: checksums, tar, table of frames.

    For an archive whose parts have no digests. `check_interrupted` is called between pieces. Raises ArchiveError.
    """
    for _ in stream_files(archive, check_interrupted):
        pass
    if archive.compression == formats.ZSTD:
        _check_seek_table(archive.volume, check_interrupted)


def _check_seek_table(volume: Volume, check_interrupted: Callable[[], None]) -> None:
    end = 0
    with volume.open() as window:
        for start, length, size in read_seek_table(volume).frames():
            check_interrupted()
            window.seek(start)
            header = window.read(_MAX_FRAME_HEADER)
            content = 0
            if int.from_bytes(header[:4], "little") not in formats.SKIPPABLE_MAGIC:
                with decoding(window):
                    content = zstandard.frame_content_size(header)
            if content not in (size, zstandard.CONTENTSIZE_UNKNOWN):
                volume.broken(start, f"the table of frames says {size} bytes of content, and the frame {content}")
            end = start + length
    if end and volume.read(end, 4) != formats.SEEK_TABLE_MAGIC.to_bytes(4, "little"):
        volume.broken(end, "the table of frames does not fit the frames")


def _check_headers(data: bytearray, padding: int, name: str, size: int | None) -> None:
    """Compare the bytes between two files: padding, directories, links, and the header of the second file."""
    if any(data[:padding]) or len(data) < padding:
        raise TarError("the padding is not right")
    headers = io.BytesIO(data[padding:])
    for member in TarReader(headers):
        if member.kind == tar_header.FILE:
            if member.name != name or size not in (None, member.size):
                raise TarError(f"they are of {member.name[:200]!r} with {member.size} bytes")
            if headers.read(1):
                raise TarError("more follows where the data should begin")
            return
    raise TarError("it has none")
