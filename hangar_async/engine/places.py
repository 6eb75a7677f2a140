"""Where saved images lie: an archive, parts of one, or a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hangar_async.archive.archive import Archive, open_archive
from hangar_async.archive.holdings import IndexedHoldings, holdings_of
from hangar_async.engine.catalog import Catalog, read_catalog
from hangar_async.engine.layout_catalog import read_layout
from hangar_async.errors import StorageError, UsageError
from hangar_async.oci.holdings import Holdings, SeekableHoldings
from hangar_async.store.holdings import LayoutHoldings, directory_holdings


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


def holdings_at(path: Path, archive: Archive | None, goes_on: Callable[[], None]) -> Holdings:
    """The files of an archive that `find_archive` opened, or of the directory: a cache, or any OCI image layout.

    `goes_on` is called between the pieces of a long pass over an archive without index, and raises to end it.
    """
    return directory_holdings(path) if archive is None else holdings_of(archive, goes_on)


def seekable_at(path: Path) -> SeekableHoldings:
    """Find what lies at a path, to be read in any order; synchronous, for a thread.

    Raises UsageError where there is nothing, or an archive without index, ArchiveError, StorageError.
    """
    archive = find_archive(path)
    if archive is None:
        return directory_holdings(path)
    if archive.index is None:
        raise UsageError(
            f"{path} has no index that says where its files are, so that it can only be read from its start",
            advice="unpack it with decompress, and name the directory",
        )
    return IndexedHoldings(archive)


def read_images(holdings: Holdings) -> Catalog:
    """Read what images there are in holdings of any kind; raises ContentError. Synchronous, for a thread."""
    return read_layout(holdings) if isinstance(holdings, LayoutHoldings) else read_catalog(holdings)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
