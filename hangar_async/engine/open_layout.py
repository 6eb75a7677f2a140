"""Where saved images lie: an archive, parts of one, or a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.layout import IndexedLayout, archive_layout
from hangar_async.errors import StorageError, UsageError
from hangar_async.layout.directory import ForeignLayout, directory_layout
from hangar_async.layout.images import Catalog, read_catalog, read_layout
from hangar_async.layout.protocols import Layout, SeekableLayout


def find_archive(path: Path) -> Archive | None:
    """Open an archive by its name, with or without `.partN`; None for a directory. Synchronous, for a thread.

    Raises UsageError where there is nothing, ArchiveError where it is no whole archive.
    """
    try:
        if path.is_dir():
            return None
        found = path.exists() or any(path.parent.glob(f"{_escaped(path.name)}.part*"))
    except OSError as error:
        raise StorageError.of(error, path, "read") from error
    if not found:
        raise UsageError(f"there is no {path}: name an archive, with or without .partN, or a cache directory")
    return open_archive(path)


def layout_at(path: Path, archive: Archive | None, goes_on: Callable[[], None]) -> Layout:
    """The files of an archive that `find_archive` opened, or of the directory: a cache, or any OCI image layout.

    `goes_on` is called between the pieces of a long pass over an archive without index, and raises to end it.
    """
    return directory_layout(path) if archive is None else archive_layout(archive, goes_on)


def seekable_layout_at(path: Path) -> SeekableLayout:
    """Find what lies at a path, to be read in any order; synchronous, for a thread.

    Raises UsageError where there is nothing, or an archive without index, ArchiveError, StorageError.
    """
    archive = find_archive(path)
    if archive is None:
        return directory_layout(path)
    if archive.index is None:
        raise UsageError(
            f"{path} has no index that says where its files are, so that it can only be read from its start",
            advice="unpack it with decompress, and name the directory",
        )
    return IndexedLayout(archive)


def read_images(layout: Layout) -> Catalog:
    """Read what images there are in holdings of any kind; raises ContentError. Synchronous, for a thread."""
    return read_layout(layout) if isinstance(layout, ForeignLayout) else read_catalog(layout)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
