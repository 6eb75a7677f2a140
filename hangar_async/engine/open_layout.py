"""Open a layout where it is: an archive, parts of one, or a directory."""

import glob
import os
from collections.abc import Callable
from pathlib import Path

from hangar_async.archive.names import archive_path, checksums_path
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.layout import IndexedLayout, archive_layout
from hangar_async.archive.read.volume import listed_archive
from hangar_async.errors import StorageError, UsageError
from hangar_async.filesystem import real_path
from hangar_async.layout.directory import directory_layout
from hangar_async.layout.files import Layout, SeekableLayout


def find_archive(path: Path) -> Archive | None:
    """Open an archive by its name, with or without `.partN`; None for a directory. Synchronous, for a thread.

    Raises UsageError for a path that does not exist, ArchiveError where it is no whole archive.
    """
    try:
        if path.is_dir():
            return None
        path = _followed(path)
        # A record of a commit stands for an archive that has no name yet.
        names = (f"{glob.escape(path.name)}.part*", f".{glob.escape(archive_path(path).name)}.*.commit")
        exists = path.exists() or any(any(path.parent.glob(name)) for name in names)
        # Parts whose file system spells their name in another way.
        exists = exists or (path.parent.is_dir() and listed_archive(path) != path)
    except OSError as error:
        raise StorageError.of(error, path, "read") from error
    if not exists:
        raise UsageError(f"there is no {path}: name an archive, with or without .partN, or a cache directory")
    return open_archive(path)


def _followed(path: Path) -> Path:
    """Return the path of an archive that a link leads to; links to single files of one are read as they are."""
    is_of_files = archive_path(path) != path or os.path.lexists(checksums_path(path))
    return path if is_of_files else real_path(path)


def layout_at(path: Path, archive: Archive | None, check_interrupted: Callable[[], None]) -> Layout:
    """Return the layout of an archive that `find_archive` opened, or of the directory.

    `check_interrupted` is called between the pieces of a long pass over an archive without index, and ends it by an
    exception.
    """
    return directory_layout(path) if archive is None else archive_layout(archive, check_interrupted)


def seekable_layout_at(path: Path) -> SeekableLayout:
    """Return the layout at a path, to be read in any order; synchronous, for a thread.

    Raises UsageError for a path that does not exist or an archive without index, ArchiveError, StorageError.
    """
    archive = find_archive(path)
    if archive is None:
        return directory_layout(path)
    if archive.index is None:
        raise UsageError(
            f"{path} has no index of its files, so that it can only be read from its start",
            advice="unpack it with decompress, and name the directory",
        )
    return IndexedLayout(archive)
