"""Where saved images lie: an archive, parts of one, or a directory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hangar_async.archive.reader import open_archive
from hangar_async.oci.holdings import Holdings
from hangar_async.store.holdings import DirectoryHoldings


def is_archive(path: Path) -> bool:
    """Whether a path names an archive or parts of one, and no directory."""
    return not path.is_dir()


@contextmanager
def open_holdings(path: Path) -> Iterator[Holdings]:
    """Open a cache directory, an archive, its name without `.partN`, or one of its parts; synchronous.

    Raises UsageError where there is nothing, ArchiveError where it is no archive.
    """
    if not is_archive(path):
        yield DirectoryHoldings(path)
        return
    with open_archive(path) as archive:
        yield archive
