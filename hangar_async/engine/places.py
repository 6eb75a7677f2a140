"""Where saved images lie: an archive, parts of one, or a directory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from hangar_async.archive.archive import Archive, open_archive
from hangar_async.archive.holdings import holdings_of
from hangar_async.errors import StorageError, UsageError
from hangar_async.oci.holdings import Holdings
from hangar_async.store.holdings import DirectoryHoldings


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
    """The files of an archive that `find_archive` opened, or of the directory.

    `goes_on` is called between the pieces of a long pass over an archive without index, and raises to end it.
    """
    return DirectoryHoldings(path) if archive is None else holdings_of(archive, goes_on)


def _escaped(name: str) -> str:
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
