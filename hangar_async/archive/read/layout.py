"""An archive as holdings: through its index, or in passes over the whole where it has none."""

from __future__ import annotations

import io
from collections.abc import Callable, Collection, Iterator, Mapping

from hangar_async.archive.names import ARCHIVE_INDEX
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.entry import EntryReader
from hangar_async.archive.read.stream import StreamedFile, stream_files
from hangar_async.layout.files import CACHE_NAME
from hangar_async.layout.protocols import LayoutFile, promised_digest

_PIECE = 1 << 20
_PREFIX = f"{CACHE_NAME}/"
#: Small files that a pass over an archive without index keeps for later: bytes in all, and of one.
_KEPT = 32 << 20
_SMALL = 1 << 20


class IndexedLayout:
    """The files of an archive that has an index; any of them is read by itself."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._sizes = {name.removeprefix(_PREFIX): entry.size for name, entry in archive.entries.items()}

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every file, by its name, in the order of the tar."""
        return self._sizes

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that are there, or all, in the order of the tar."""
        chosen = None if names is None else set(names)
        for entry in self.archive.entries.values():
            name = entry.name.removeprefix(_PREFIX)
            if chosen is None or name in chosen:
                with self.archive.open(entry) as reader:
                    yield LayoutFile(name, entry.size, entry.digest, _pieces(reader))

    def open(self, name: str, start: int = 0) -> EntryReader:
        """Read the file of this name, which `sizes` has, from byte `start` on; raises ArchiveError, StorageError."""
        return self.archive.open(self.archive.entries[f"{_PREFIX}{name}"], start)


class StreamedLayout:
    """The files of an archive without index; whatever is asked of it costs a pass over the archive, or part of one.

    The first pass notes all sizes, and keeps small files as far as they are likely to be asked for. `goes_on` is
    called for each piece that is passed over, and raises to end the work early.
    """

    def __init__(self, archive: Archive, goes_on: Callable[[], None] = lambda: None) -> None:
        self.archive = archive
        self._goes_on = goes_on
        self._sizes: dict[str, int] | None = None
        self._kept: dict[str, bytes] = {}
        #: An index of ours was met in the tar: what said where it is has been cut off.
        self.lost_footer = False

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every file, by its name, in the order of the tar."""
        if self._sizes is None:
            sizes: dict[str, int] = {}
            space = _KEPT
            for name, file in self._pass():
                sizes[name] = file.size
                if file.size <= min(_SMALL, space):
                    space -= file.size
                    self._kept[name] = file.readall()
            self._sizes = sizes
        return self._sizes

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that are there, or all, in the order of the tar."""
        if names is None:
            yield from (_held(name, file) for name, file in self._pass())
            return
        rest = self.sizes().keys() & set(names)
        if rest <= self._kept.keys():
            for name in (name for name in self._kept if name in rest):
                data = self._kept[name]
                yield LayoutFile(name, len(data), promised_digest(name), iter([data]))
            return
        for name, file in self._pass():
            if name in rest:
                rest.discard(name)
                yield _held(name, file)
                if not rest:
                    return

    def _pass(self) -> Iterator[tuple[str, StreamedFile]]:
        for file in stream_files(self.archive, self._goes_on, index=True):
            if file.name == ARCHIVE_INDEX:
                self.lost_footer = True
                continue
            yield file.name.removeprefix(_PREFIX), file


def archive_layout(archive: Archive, goes_on: Callable[[], None] = lambda: None) -> IndexedLayout | StreamedLayout:
    """The files of an archive; its own index is none of them. `goes_on` is for StreamedLayout."""
    assert ARCHIVE_INDEX not in archive.entries  # noqa: S101 - the index cannot name itself
    return StreamedLayout(archive, goes_on) if archive.index is None else IndexedLayout(archive)


def _held(name: str, file: StreamedFile) -> LayoutFile:
    return LayoutFile(name, file.size, promised_digest(name), _pieces(file))


def _pieces(reader: io.RawIOBase) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_PIECE))
    while count := reader.readinto(buffer):
        yield buffer[:count]
