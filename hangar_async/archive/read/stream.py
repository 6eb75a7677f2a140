"""An archive read in one pass, in the order of its tar: for archives without index, and for unpacking all."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from hangar_async.archive import tar_header
from hangar_async.archive.formats import GZIP
from hangar_async.archive.names import ARCHIVE_INDEX, LINK, LINK_TARGET, is_directory_name, is_file_name
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import DECODE_SIZE, Decoder, frames, members
from hangar_async.archive.read.tar_reader import TarError, TarReader
from hangar_async.archive.read.volume import Window

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

_FILES = frozenset({tar_header.FILE, b"\0", b"7"})


class StreamedFile(io.RawIOBase):
    """A regular file of an archive, to be read before the next one is asked for; the rest of it is passed over."""

    def __init__(self, name: str, size: int, reader: TarReader, window: Window) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self._reader = reader
        self._window = window

    def readable(self) -> bool:
        """Whether it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer; fewer bytes are the end. Raises ArchiveError, StorageError."""
        try:
            return self._reader.readinto(memoryview(buffer).cast("B"))
        except TarError as error:
            self._window.broken(str(error))


class _Stream(Decoder):
    """The tar in an archive, and what follows it."""

    def __init__(self, archive: Archive, window: Window, check_interrupted: Callable[[], None]) -> None:
        super().__init__(window, members if archive.compression == GZIP else frames)
        self._check_interrupted = check_interrupted

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; fewer bytes are the end. Raises ArchiveError, StorageError."""
        self._check_interrupted()
        return super().readinto(buffer)


def stream_files(
    archive: Archive, check_interrupted: Callable[[], None] = lambda: None, *, index: bool = False
) -> Iterator[StreamedFile]:
    """Yield the regular files of an archive, its own index only if `index`; each one is valid until the next.

    Directories and the one link of the format are passed over. Raises ArchiveError for any other name or kind, for a
    name that comes twice, and for a stream that is damaged or ends too early. No digest is checked. `check_interrupted`
    is called before every piece of about 1 MiB at most, and raises to end the work early.
    """
    with archive.volume.open() as window:
        stream = _Stream(archive, window, check_interrupted)
        reader = TarReader(stream)
        names: set[str] = set()
        try:
            for member in reader:
                name = member.name.removeprefix("./")
                if member.kind == tar_header.DIRECTORY:
                    name = name.rstrip("/").removeprefix("./")
                _check(member, name, names)
                if member.kind in _FILES and (index or name != ARCHIVE_INDEX):
                    with StreamedFile(name, member.size, reader, window) as file:
                        yield file
            _read_to_the_end(stream)
        except TarError as error:
            window.broken(str(error))


def _check(member: tar_header.Member, name: str, names: set[str]) -> None:
    """Raise TarError for a member that the format does not have, and note the name of a file."""
    problem = ""
    if member.kind in _FILES:
        if not is_file_name(name):
            problem = "is no name that an archive of images may hold"
        elif name in names:
            problem = "is there twice"
        names.add(name)
    elif member.kind == tar_header.DIRECTORY:
        if not is_directory_name(name):
            problem = "is no directory that an archive of images may hold"
    elif (member.kind, name, member.target) != (tar_header.LINK, LINK, LINK_TARGET):
        problem = "is a link, device or other special file"
    if problem:
        raise TarError(f"{member.name[:200]!r} {problem}")


def _read_to_the_end(stream: Decoder) -> None:
    """Let the decoder check the rest, such as the CRC-32; nothing but zeros may follow the tar."""
    data = bytearray(DECODE_SIZE)
    zeros = bytes(len(data))
    while count := stream.readinto(memoryview(data)):
        # Compared as a whole: to look at each byte would be a hundred times slower.
        if data[:count] != zeros[:count]:
            raise TarError("something follows the end of the tar")
