"""An archive as a layout: read by its index, or in one pass in the order of its tar."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from hangar_async.archive import tar_header
from hangar_async.archive.formats import GZIP
from hangar_async.archive.names import ARCHIVE_INDEX, LINK, LINK_TARGET, PREFIX, is_directory_name, is_file_name
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import DECODE_SIZE, Decoder, EntryReader, frames, members
from hangar_async.archive.read.tar_reader import TarError, TarReader
from hangar_async.archive.read.volume import Window
from hangar_async.layout.files import LayoutFile, named_digest
from hangar_async.oci import PIECE, read_pieces

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The small files that a pass over an archive without index keeps: bytes of all, and of one.
_MAX_KEPT = 32 << 20
_MAX_SMALL = 1 << 20


class IndexedLayout:
    """The files of an archive that has an index; each of them can be read alone."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._sizes = {name.removeprefix(PREFIX): entry.size for name, entry in archive.entries.items()}

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file, by its name, in the order of the tar."""
        return self._sizes

    def stored_size(self) -> int:
        """Return the bytes of the archive."""
        return self.archive.volume.size

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in the order of the tar."""
        chosen = None if names is None else set(names)
        buffer = memoryview(bytearray(PIECE))
        for entry in self.archive.entries.values():
            name = entry.name.removeprefix(PREFIX)
            if chosen is None or name in chosen:
                with self.archive.open(entry) as reader:
                    yield LayoutFile(name, entry.size, entry.digest, read_pieces(reader, buffer))

    def open(self, name: str, start: int = 0) -> EntryReader:
        """Open the file of this name, which `sizes` has, at byte `start`; raises ArchiveError, StorageError."""
        return self.archive.open(self.archive.entries[f"{PREFIX}{name}"], start)


class StreamedLayout:
    """The files of an archive without index; every call costs a pass over the archive, or part of one.

    The first pass notes all sizes, and keeps small files, which are likely to be read again. `check_interrupted` is
    called for each skipped piece, and raises to end the work early.
    """

    def __init__(self, archive: Archive, check_interrupted: Callable[[], None] = lambda: None) -> None:
        self.archive = archive
        self._check_interrupted = check_interrupted
        self._sizes: dict[str, int] | None = None
        self._kept: dict[str, bytes] = {}
        #: True when the tar has an index of ours: the footer with its position was cut off.
        self.lost_footer = False

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file, by its name, in the order of the tar."""
        if self._sizes is None:
            sizes: dict[str, int] = {}
            space = _MAX_KEPT
            for name, file in self._pass():
                sizes[name] = file.size
                if file.size <= min(_MAX_SMALL, space):
                    space -= file.size
                    self._kept[name] = file.readall()
            self._sizes = sizes
        return self._sizes

    def stored_size(self) -> int:
        """Return the bytes of the archive."""
        return self.archive.volume.size

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in the order of the tar."""
        rest = None if names is None else self.sizes().keys() & set(names)
        if rest is not None and rest <= self._kept.keys():
            for name in (name for name in self._kept if name in rest):
                data = self._kept[name]
                yield LayoutFile(name, len(data), named_digest(name), iter([data]))
            return
        buffer = memoryview(bytearray(PIECE))
        for name, file in self._pass():
            if rest is None or name in rest:
                yield LayoutFile(name, file.size, named_digest(name), read_pieces(file, buffer))
            if rest is not None:
                rest.discard(name)
                if not rest:
                    return

    def _pass(self) -> Iterator[tuple[str, StreamedFile]]:
        for file in stream_files(self.archive, self._check_interrupted, index=True):
            if file.name == ARCHIVE_INDEX:
                self.lost_footer = True
                continue
            yield file.name.removeprefix(PREFIX), file


def archive_layout(
    archive: Archive, check_interrupted: Callable[[], None] = lambda: None
) -> IndexedLayout | StreamedLayout:
    """Return the layout in an archive; `check_interrupted` is for a StreamedLayout."""
    return StreamedLayout(archive, check_interrupted) if archive.index is None else IndexedLayout(archive)


_FILES = frozenset({tar_header.FILE, b"\0", b"7"})


class StreamedFile(io.RawIOBase):
    """A regular file of an archive, valid until the next one; bytes that were not read are skipped."""

    def __init__(self, name: str, size: int, reader: TarReader, window: Window) -> None:
        super().__init__()
        self.name = name
        self.size = size
        self._reader = reader
        self._window = window

    def readable(self) -> bool:
        """Tell whether it can be read."""
        return True

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Fill a buffer; fewer bytes are the end. Raises ArchiveError, StorageError."""
        try:
            return self._reader.readinto(memoryview(buffer).cast("B"))
        except TarError as error:
            self._window.broken(str(error))


class _Stream(Decoder):
    """The tar in an archive, and the bytes after it."""

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

    Directories and the one link of the format are skipped. Raises ArchiveError for any other name or kind, for a name
    that appears twice, and for a stream that is damaged or ends too early. No digest is checked. `check_interrupted`
    is called before every piece of about 1 MiB at most, and raises to end the work early.
    """
    with archive.volume.open() as window:
        stream = _Stream(archive, window, check_interrupted)
        reader = TarReader(stream, archive.volume.size)
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
            _check_end(stream)
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


def _check_end(stream: Decoder) -> None:
    """Let the decoder check the rest, such as the CRC-32; only zeros may follow the tar."""
    data = bytearray(DECODE_SIZE)
    zeros = bytes(len(data))
    while count := stream.readinto(memoryview(data)):
        # A comparison of each byte would be a hundred times slower.
        if data[:count] != zeros[:count]:
            raise TarError("something follows the end of the tar")
