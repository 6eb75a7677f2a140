"""The forms of archives and directories, told by their content: each is shown as a cache or an OCI image layout."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path

from hangar_async.archive.entries import ArchiveEntry
from hangar_async.archive.formats import TAR, ZIP
from hangar_async.archive.names import PREFIX
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.decode import EntryReader, as_they_are, opened_files
from hangar_async.archive.read.docker import docker_layout
from hangar_async.archive.read.docker_layers import LayerStore
from hangar_async.archive.read.layout import ForeignNames, IndexedLayout, StreamedLayout, first_name, stream_files
from hangar_async.archive.read.zip import ZipLayout
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import CACHE_NAME, LIST_NAME, Layout, LayoutFile
from hangar_async.layout.foreign import ShownLayout, hangar_layout, oci_layout, skopeo_layout

#: The endings of the names of archives, which are no part of the names of their images.
_ENDINGS = re.compile(r"(?<=.)(?:\.(?:tar|zip|tgz|tzst|gz|zst|zstd|xz|bz2|partial))+$", re.IGNORECASE)


class TarLayout:
    """The files of a tar that is not compressed, each of which can be read alone; its headers are read once."""

    is_seekable = True

    def __init__(
        self, archive: Archive, check_interrupted: Callable[[], None] = lambda: None, *, own: bool = True
    ) -> None:
        self.archive = archive
        self.own = own
        names = None if own else ForeignNames()
        files = stream_files(archive, check_interrupted, names=names)
        prefix = PREFIX if own else ""
        self._entries = {
            name: ArchiveEntry.without_index(name, file.size, file.offset, file.size, "stored")
            for file in files
            for name in [file.name.removeprefix(prefix)]
        }
        self._sizes = {name: entry.size for name, entry in self._entries.items()}
        #: The links of an archive of another program.
        self.links = names.links if names else {}

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every regular file, by its name, in the order of the tar."""
        return self._sizes

    def stored_size(self) -> int:
        """Return the bytes of the archive."""
        return self.archive.volume.size

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in the order of the tar."""
        return opened_files(self._sizes, self.open, names)

    def open(self, name: str, start: int = 0) -> EntryReader:
        """Open the file of this name, which `sizes` has, at byte `start`; raises ArchiveError, StorageError."""
        entry = self._entries[name]
        start = min(start, entry.size)
        window = self.archive.volume.open(entry.offset + start, entry.offset + entry.size)
        return EntryReader(entry, entry.size - start, window, as_they_are)


def archive_files(archive: Archive, check_interrupted: Callable[[], None] = lambda: None) -> Layout:
    """Return the files of an archive as they are, in place where it is not compressed or has an index.

    One of ours has `own` set to True, or is an IndexedLayout; only then all names are those of a cache.
    `check_interrupted` is called between pieces, and raises to end the work early.
    """
    if archive.index is not None:
        return IndexedLayout(archive)
    if archive.compression == ZIP:
        return ZipLayout(archive.volume)
    name = first_name(archive, check_interrupted)
    kind = TarLayout if archive.compression == TAR else StreamedLayout
    return kind(archive, check_interrupted, own=name == CACHE_NAME or name.startswith(PREFIX))


def archive_layout(
    archive: Archive, check_interrupted: Callable[[], None] = lambda: None, store: LayerStore | None = None
) -> Layout:
    """Return the layout in an archive; `check_interrupted` is called between the pieces of a long pass.

    The layers of a docker-archive are kept in the `store`, which is closed after the layout was used. Raises
    ArchiveError, ContentError, StorageError.
    """
    files = archive_files(archive, check_interrupted)
    if archive.index is not None or getattr(files, "own", False):
        return files
    return _shown(files, _ENDINGS.sub("", archive.volume.path.name), check_interrupted, store)


def directory_layout(
    root: Path, check_interrupted: Callable[[], None] = lambda: None, store: LayerStore | None = None
) -> Layout:
    """Return the layout of a directory; raises ContentError, StorageError. See `archive_layout`."""
    return _shown(DirectoryLayout(root), root.resolve().name, check_interrupted, store)


def _shown(files: Layout, title: str, check_interrupted: Callable[[], None], store: LayerStore | None) -> Layout:
    """Show files in the form that they have; without any, as they are."""
    if LIST_NAME in files.sizes():
        return files

    def formed(inner: Layout, links: Mapping[str, str]) -> Layout | None:
        return (
            oci_layout(inner, title, links)
            or hangar_layout(inner)
            or skopeo_layout(inner, title)
            or docker_layout(inner, title, links, check_interrupted, store)
        )

    links: Mapping[str, str] = getattr(files, "links", {})
    # A tar of a directory has all files in this one.
    top = f"{next(iter(files.sizes()), '').partition('/')[0]}/"
    if not all(name.startswith(top) for name in files.sizes()):
        return formed(files, links) or files
    inner = ShownLayout(files, {name.removeprefix(top): name for name in files.sizes()})
    return formed(inner, {name.removeprefix(top): target for name, target in links.items()}) or files
