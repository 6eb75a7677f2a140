"""An archive as holdings: through its index, or in passes over the whole where it has none."""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Mapping

from hangar_async.archive.archive import Archive
from hangar_async.archive.names import ARCHIVE_INDEX
from hangar_async.archive.stream import stream_files
from hangar_async.oci.holdings import HeldFile
from hangar_async.oci.layout import CACHE_NAME

_PIECE = 1 << 20
_PREFIX = f"{CACHE_NAME}/"
#: Small files that a pass over an archive without index keeps for later: bytes in all, and of one.
_KEPT = 32 << 20
_SMALL = 1 << 20


class IndexedHoldings:
    """The files of an archive that has an index; any of them is read by itself."""

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._sizes = {name.removeprefix(_PREFIX): entry.size for name, entry in archive.entries.items()}

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every file, by its name, in the order of the tar."""
        return self._sizes

    def documents(self, names: Collection[str], limit: int) -> dict[str, bytes]:
        """Read the small files of these names that are there; one of more than `limit` bytes is left out."""
        entries = self.archive.entries
        return {
            name: self.archive.read(entries[_PREFIX + name], limit)
            for name in names
            if self._sizes.get(name, limit + 1) <= limit
        }

    def files(self, names: Collection[str] | None = None) -> Iterator[HeldFile]:
        """Read the files of these names, or all, in the order of the tar."""
        chosen = None if names is None else set(names)
        for entry in self.archive.entries.values():
            name = entry.name.removeprefix(_PREFIX)
            if chosen is None or name in chosen:
                with self.archive.open(entry) as reader:
                    yield HeldFile(name, entry.size, _pieces(reader))


class StreamedHoldings:
    """The files of an archive without index; whatever is asked of it costs a pass over the archive, or part of one.

    The first pass notes all sizes, and keeps small files as far as they are likely to be asked for.
    """

    def __init__(self, archive: Archive) -> None:
        self.archive = archive
        self._sizes: dict[str, int] | None = None
        self._kept: dict[str, bytes] = {}

    def sizes(self) -> Mapping[str, int]:
        """The size in bytes of every file, by its name, in the order of the tar."""
        if self._sizes is None:
            sizes: dict[str, int] = {}
            room = _KEPT
            for file in stream_files(self.archive):
                name = file.name.removeprefix(_PREFIX)
                sizes[name] = file.size
                if file.size <= min(_SMALL, room):
                    room -= file.size
                    self._kept[name] = file.readall()
            self._sizes = sizes
        return self._sizes

    def documents(self, names: Collection[str], limit: int) -> dict[str, bytes]:
        """Read the small files of these names that are there; one of more than `limit` bytes is left out."""
        sizes = self.sizes()
        wanted = {name for name in names if sizes.get(name, limit + 1) <= limit}
        found = {name: self._kept[name] for name in wanted if name in self._kept}
        missing = wanted - found.keys()
        if missing:
            found |= {file.name: b"".join(map(bytes, file.pieces)) for file in self.files(missing)}
        return found

    def files(self, names: Collection[str] | None = None) -> Iterator[HeldFile]:
        """Read the files of these names, or all, in the order of the tar."""
        rest = None if names is None else set(names)
        for file in stream_files(self.archive):
            name = file.name.removeprefix(_PREFIX)
            if rest is not None:
                if name not in rest:
                    continue
                rest.discard(name)
            yield HeldFile(name, file.size, _pieces(file))
            if rest is not None and not rest:
                return


def holdings_of(archive: Archive) -> IndexedHoldings | StreamedHoldings:
    """The files of an archive; its own index is none of them."""
    assert ARCHIVE_INDEX not in archive.entries  # noqa: S101 - the index cannot name itself
    return StreamedHoldings(archive) if archive.index is None else IndexedHoldings(archive)


def _pieces(reader: io.RawIOBase) -> Iterator[memoryview]:
    buffer = memoryview(bytearray(_PIECE))
    while count := reader.readinto(buffer):
        yield buffer[:count]
