"""An archive as a layout: read by its index, or in one pass in the order of its tar."""

from __future__ import annotations

import io
import os
import posixpath
from collections.abc import Callable, Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol

from hangar_async.archive import tar_header
from hangar_async.archive.entries import Sizes
from hangar_async.archive.formats import TAR
from hangar_async.archive.names import ARCHIVE_INDEX, LINK, LINK_TARGET, PREFIX, is_directory_name, is_file_name
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import DECODE_SIZE, DECODERS, Decoder, EntryReader
from hangar_async.archive.read.tar_reader import TarError, TarReader
from hangar_async.archive.read.volume import Window
from hangar_async.layout.files import LayoutFile, named_digest
from hangar_async.oci import PIECE, read_pieces

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

#: The small files that a pass over an archive without index keeps: bytes of all, and of one.
_MAX_KEPT = 32 << 20
_MAX_SMALL = 1 << 20
#: The longest name in an archive of another program, and the characters of all names in it.
_MAX_NAME = 1000
_MAX_NAMES = 64 << 20


class IndexedLayout:
    """The files of an archive that has an index; each of them can be read alone."""

    is_seekable = True

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._sizes = Sizes(archive.entries)

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

    The first pass notes all sizes, and keeps small files, which are likely to be read again. `own` is False for an
    archive of another program, whose names are shown as they are. `check_interrupted` is called for each skipped piece,
    and raises to end the work early.
    """

    is_seekable = False

    def __init__(
        self, archive: Archive, check_interrupted: Callable[[], None] = lambda: None, *, own: bool = True
    ) -> None:
        self.archive = archive
        self.own = own
        #: The links of an archive of another program, once the sizes are known.
        self.links: dict[str, str] = {}
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
        foreign = None if self.own else ForeignNames()
        for file in stream_files(self.archive, self._check_interrupted, index=True, names=foreign):
            if self.own and file.name == ARCHIVE_INDEX:
                self.lost_footer = True
                continue
            yield file.name.removeprefix(PREFIX) if self.own else file.name, file
        if foreign is not None:
            self.links = foreign.links


_FILES = frozenset({tar_header.FILE, b"\0", b"7"})


class StreamedFile(io.RawIOBase):
    """A regular file of an archive, valid until the next one; bytes that were not read are skipped."""

    def __init__(self, name: str, size: int, reader: TarReader, window: Window) -> None:
        super().__init__()
        self.name = name
        self.size = size
        #: The position of its first byte in the archive, where this is not compressed.
        self.offset = window.offset
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
        super().__init__(window, DECODERS[archive.compression])
        self._check_interrupted = check_interrupted

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a buffer; fewer bytes are the end. Raises ArchiveError, StorageError."""
        self._check_interrupted()
        return super().readinto(buffer)


class _PlainStream(_Stream):
    """A tar that is not compressed, in which a file that is not read is skipped."""

    def skip(self, count: int) -> bool:
        """Step over some bytes; tell whether there are as many."""
        self._check_interrupted()
        is_there = count <= self.window.left
        self.window.seek(count, os.SEEK_CUR)
        return is_there


def stream_files(
    archive: Archive,
    check_interrupted: Callable[[], None] = lambda: None,
    *,
    index: bool = False,
    names: MemberNames | None = None,
) -> Iterator[StreamedFile]:
    """Yield the regular files of an archive, its own index only if `index`; each one is valid until the next.

    `names` is the rule for the members, by default that of our archives: directories and the one link of the format are
    skipped. Raises ArchiveError for any other name or kind, for a name that appears twice, and for a stream that is
    damaged or ends too early. No digest is checked. `check_interrupted` is called before every piece of about 1 MiB at
    most, and raises to end the work early.
    """
    names = names or OwnNames()
    with archive.volume.open() as window:
        stream = _open_stream(archive, window, check_interrupted)
        reader = TarReader(stream, archive.volume.size)
        try:
            for member in reader:
                name = names.file_name(member)
                if name is not None and (index or name != ARCHIVE_INDEX):
                    with StreamedFile(name, member.size, reader, window) as file:
                        yield file
            _check_end(stream)
        except TarError as error:
            window.broken(str(error))


def first_name(archive: Archive, check_interrupted: Callable[[], None] = lambda: None) -> str:
    """Return the name of the first member that has one, "" without any; raises ArchiveError, StorageError."""
    with archive.volume.open() as window:
        reader = TarReader(_open_stream(archive, window, check_interrupted), archive.volume.size)
        try:
            return next(filter(None, (plain_name(member.name) for member in reader)), "")
        except TarError as error:
            window.broken(str(error))


def _open_stream(archive: Archive, window: Window, check_interrupted: Callable[[], None]) -> _Stream:
    kind = _PlainStream if archive.compression == TAR else _Stream
    return kind(archive, window, check_interrupted)


def plain_name(name: str) -> str:
    """Return a name in a tar without the signs of the directory that it was made in, and of a directory."""
    while name.startswith("./"):
        name = name[2:].lstrip("/")
    name = name.rstrip("/")
    return "" if name == "." else name


class MemberNames(Protocol):
    """The rule for the members of a tar."""

    def file_name(self, member: tar_header.Member) -> str | None:
        """Return the name of a regular file, None for a member without content; raises TarError for a wrong one."""
        ...


class OwnNames:
    """The names of our own archives: files, directories and the one link of the format, and nothing else."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def file_name(self, member: tar_header.Member) -> str | None:
        """Return the name of a regular file, None for a directory or link; raises TarError for anything else."""
        name = member.name.removeprefix("./")
        if member.kind == tar_header.DIRECTORY:
            name = name.rstrip("/").removeprefix("./")
        if problem := self._problem(member, name):
            raise TarError(f"{member.name[:200]!r} {problem}")
        return name if member.kind in _FILES else None

    def _problem(self, member: tar_header.Member, name: str) -> str:
        if member.kind in _FILES:
            if not is_file_name(name):
                return "is no name that an archive of images may hold"
            if name in self._names:
                return "is there twice"
            self._names.add(name)
        elif member.kind == tar_header.DIRECTORY:
            return "" if is_directory_name(name) else "is no directory that an archive of images may hold"
        elif (member.kind, name, member.target) != (tar_header.LINK, LINK, LINK_TARGET):
            return "is a link, device or other special file"
        return ""


class ForeignNames:
    """The names of archives of other programs: none leaves the archive, each is there once, links are noted.

    `links` has the target of each link, as seen from its directory. No file of such a name is ever made.
    """

    def __init__(self) -> None:
        self.links: dict[str, str] = {}
        self._names: set[str] = set()
        self._space = _MAX_NAMES

    def file_name(self, member: tar_header.Member) -> str | None:
        """Return the name of a regular file, None for a directory or link; raises TarError for anything else."""
        name = plain_name(member.name)
        if problem := self._problem(member, name):
            raise TarError(f"{member.name[:200]!r} {problem}")
        if member.kind in _FILES:
            return name
        if member.kind == tar_header.LINK:
            self.links[name] = member.target
        elif member.kind == tar_header.HARD_LINK:
            self.links[name] = posixpath.relpath(plain_name(member.target) or ".", posixpath.dirname(name) or ".")
        return None

    def _problem(self, member: tar_header.Member, name: str) -> str:
        if member.name.startswith("/") or ".." in name.split("/"):
            return "leads out of the archive"
        if member.kind == tar_header.DIRECTORY:
            return ""
        if member.kind not in _FILES | {tar_header.LINK, tar_header.HARD_LINK}:
            return "is a device or other special file"
        self._space -= len(name) + len(member.target)
        if not name or len(name) > _MAX_NAME or self._space < 0:
            return "is too long, or the names of all files are"
        if name in self._names:
            return "is there twice"
        self._names.add(name)
        return ""


def _check_end(stream: Decoder) -> None:
    """Let the decoder check the rest, such as the CRC-32; only zeros may follow the tar."""
    data = bytearray(DECODE_SIZE)
    zeros = bytes(len(data))
    while count := stream.readinto(memoryview(data)):
        # A comparison of each byte would be a hundred times slower.
        if data[:count] != zeros[:count]:
            raise TarError("something follows the end of the tar")
