"""An archive read in one pass, in the order of its tar: for archives that have no index, and for unpacking all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, NoReturn

from hangar_async.archive import tar_header
from hangar_async.archive.names import ARCHIVE_INDEX, LINK, LINK_TARGET, is_directory_name, is_file_name
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import Decoder, fill, frames, members
from hangar_async.archive.read.footer import GZIP
from hangar_async.archive.read.tar_reader import Member, TarError, TarReader
from hangar_async.archive.read.volume import Window

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FILES = frozenset({tar_header.FILE, b"\0", b"7"})


class StreamedFile(io.RawIOBase):
    """A regular file of an archive, to be read before the next one is asked for; what is not read is passed over."""

    def __init__(self, name: str, size: int, source: _Source, reader: TarReader) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self._source = source
        self._reader = reader

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer; what is less is the end. Raises ArchiveError, StorageError."""
        view = memoryview(buffer).cast("B")
        try:
            return self._reader.read_into(view)
        except TarError as error:
            self._source.broken(str(error))


class _Source:
    """The tar within an archive."""

    def __init__(self, decoder: Decoder, window: Window, goes_on: Callable[[], None]) -> None:
        self._decoder = decoder
        self._window = window
        self._goes_on = goes_on

    def fill(self, buffer: memoryview) -> int:
        self._goes_on()
        return fill(self._decoder, self._window, buffer)

    def broken(self, problem: str) -> NoReturn:
        self._window.volume.broken(self._window.offset, problem)


def stream_files(
    archive: Archive, goes_on: Callable[[], None] = lambda: None, *, index: bool = False
) -> Iterator[StreamedFile]:
    """Yield the regular files of an archive, its own index only if `index`; each one is valid until the next.

    Directories and the one link of the format are passed over. Raises ArchiveError for any other name or kind, for a
    name that comes twice, and for a stream that is damaged or ends too early. No digest is checked. `goes_on` is called
    before every piece of about 1 MiB at most, and raises to end the work early.
    """
    with archive.volume.open() as window:
        decoder = members(window) if archive.compression == GZIP else frames(window)
        source = _Source(decoder, window, goes_on)
        reader = TarReader(source)
        seen: set[str] = set()
        try:
            for member in reader:
                name = (
                    member.name.removeprefix("./").rstrip("/") if member.kind == tar_header.DIRECTORY else member.name
                )
                name = name.removeprefix("./")
                _check(member, name, seen, source)
                if member.kind in _FILES and (index or name != ARCHIVE_INDEX):
                    with StreamedFile(name, member.size, source, reader) as file:
                        yield file
            _read_to_the_end(source)
        except TarError as error:
            source.broken(str(error))


def _check(member: Member, name: str, seen: set[str], source: _Source) -> None:
    shown = repr(member.name[:200])
    if member.kind in _FILES:
        if not is_file_name(name):
            source.broken(f"{shown} is no name that an archive of images may hold")
        if name in seen:
            source.broken(f"{shown} is there twice")
        seen.add(name)
    elif member.kind == tar_header.DIRECTORY:
        if not is_directory_name(name):
            source.broken(f"{shown} is no directory that an archive of images may hold")
    elif (member.kind, name, member.target) != (tar_header.LINK, LINK, LINK_TARGET):
        source.broken(f"{shown} is a link, device or other special file")


def _read_to_the_end(source: _Source) -> None:
    """Let the decoder check what is behind the tar, such as the CRC-32; nothing but zeros may be there."""
    data = bytearray(1 << 18)
    zeros = bytes(len(data))
    while count := source.fill(memoryview(data)):
        # Compared as a whole: to look at each byte would be a hundred times slower.
        if data[:count] != zeros[:count]:
            source.broken("something follows the end of the tar")
