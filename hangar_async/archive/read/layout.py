"""An archive as a layout: through its index, or in passes over the whole where it has none."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping

from hangar_async.archive.names import ARCHIVE_INDEX, PREFIX
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import PIECE, EntryReader
from hangar_async.archive.read.stream import StreamedFile, stream_files
from hangar_async.layout.protocols import LayoutFile, named_digest
from hangar_async.oci.integrity import read_pieces

#: Small files that a pass over an archive without index keeps for later: bytes in all, and of one.
_MAX_KEPT = 32 << 20
_MAX_SMALL = 1 << 20


class IndexedLayout:
    """The files of an archive that has an index; any of them is read by itself."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._sizes = {name.removeprefix(PREFIX): entry.size for name, entry in archive.entries.items()}

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every file, by its name, in the order of the tar."""
        return self._sizes

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

    The first pass notes all sizes, and keeps small files as far as they are likely to be asked for.
    `check_interrupted` is called for each piece that is passed over, and raises to end the work early.
    """

    def __init__(self, archive: Archive, check_interrupted: Callable[[], None] = lambda: None) -> None:
        self.archive = archive
        self._check_interrupted = check_interrupted
        self._sizes: dict[str, int] | None = None
        self._kept: dict[str, bytes] = {}
        #: An index of ours was met in the tar: its position, at the end of the archive, has been cut off.
        self.lost_footer = False

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every file, by its name, in the order of the tar."""
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
    """Return the files of an archive without its own index; `check_interrupted` is for StreamedLayout."""
    return StreamedLayout(archive, check_interrupted) if archive.index is None else IndexedLayout(archive)
