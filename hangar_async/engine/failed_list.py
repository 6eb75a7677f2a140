"""The list of failed images: lines that the next run takes as they are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.errors import UsageError
from hangar_async.filesystem import check_parent


def check_failed_list(path: Path | None) -> None:
    """Raise UsageError when the list of failed images cannot be written."""
    if path is not None:
        check_parent(path, "-o")
        if path.is_dir():
            raise UsageError(f"the list of failed images {path} is a directory: name a file (-o)")


def write_failed_list(path: Path | None, lines: Iterable[str]) -> Path | None:
    """Write the lines of failed images, or remove the list where there are none; synchronous, for a thread.

    Returns the path of a list that was written. Raises StorageError.
    """
    content = "".join(f"{line}\n" for line in lines)
    if path is None:
        return None
    if not content:
        Disk().remove(path)
        return None
    Disk().write_file(path, content.encode())
    return path
