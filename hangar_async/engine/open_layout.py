"""Open a layout where it is: an archive, parts of one, or a directory."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from hangar_async.archive.formats import BZIP2, GZIP, XZ, ZSTD
from hangar_async.archive.names import archive_path, checksums_path
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.docker_layers import LayerStore
from hangar_async.archive.read.forms import archive_layout, directory_layout
from hangar_async.archive.read.search import is_there
from hangar_async.disk import Disk
from hangar_async.errors import StorageError, UsageError
from hangar_async.filesystem import real_path
from hangar_async.layout.files import Layout, SeekableLayout
from hangar_async.layout.foreign import seekable
from hangar_async.threads import in_thread

#: The formats of archives that are read from their start alone where they have no index.
STREAMED = frozenset({GZIP, ZSTD, XZ, BZIP2})


def find_archive(path: Path, check_interrupted: Callable[[], None] = lambda: None) -> Archive | None:
    """Open an archive by its name, with or without `.partN`; None for a directory. Synchronous, for a thread.

    `check_interrupted` is called where a large file is hashed, to finish a commit, and ends it by an exception. Raises
    UsageError for a path that does not exist, ArchiveError where it is no whole archive.
    """
    try:
        if path.is_dir():
            return None
        path = _followed(path)
        # A commit gives the archive its new names before the last of the old ones go.
        exists = is_there(path) or is_there(path)
    except OSError as error:
        raise StorageError.of(error, path, "read") from error
    if not exists:
        raise UsageError(f"there is no {path}: name an archive, with or without .partN, or a cache directory")
    return open_archive(path, check_interrupted)


def _followed(path: Path) -> Path:
    """Return the path of an archive that a link leads to; links to single files of one are read as they are."""
    is_of_files = archive_path(path) != path or os.path.lexists(checksums_path(path))
    return path if is_of_files else real_path(path)


def layout_at(
    path: Path, archive: Archive | None, check_interrupted: Callable[[], None], store: LayerStore | None = None
) -> Layout:
    """Return the layout of an archive that `find_archive` opened, or of the directory.

    `check_interrupted` is called between the pieces of a long pass over an archive, and ends it by an exception. Layers
    of a docker-archive that will be read are kept in the `store`. Raises ArchiveError, ContentError, StorageError.
    """
    if archive is None:
        return directory_layout(path, check_interrupted, store)
    return archive_layout(archive, check_interrupted, store)


@asynccontextmanager
async def layer_store(parent: Path, disk: Disk) -> AsyncIterator[LayerStore]:
    """Give a store of layers for the block, in a directory below `parent` that is made when the first layer comes."""
    store = LayerStore(parent, disk)
    try:
        yield store
    finally:
        await in_thread(store.close)


def seekable_layout_at(path: Path, check_interrupted: Callable[[], None] = lambda: None) -> SeekableLayout:
    """Return the layout at a path, to be read in any order; synchronous, for a thread. See `find_archive`.

    Raises UsageError for a path that does not exist or an archive that can only be read from its start, ArchiveError,
    ContentError, StorageError.
    """
    archive = find_archive(path, check_interrupted)
    if archive is not None and archive.index is None and archive.compression in STREAMED:
        raise UsageError(
            f"{path} has no index of its files, so that it can only be read from its start",
            advice=f"unpack its {archive.compression}, which leaves a tar, or make an archive of it with compress",
        )
    return seekable(layout_at(path, archive, check_interrupted))
