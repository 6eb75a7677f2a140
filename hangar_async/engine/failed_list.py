"""TODO"""

from __future__ import annotations

from pathlib import Path

from hangar_async.errors import UsageError
from hangar_async.filesystem import _check_parent


def check_failed_list(path: Path | None) -> None:
    """Raise UsageError when the list of failed images cannot be written."""
    if path is not None:
        _check_parent(path, "-o")
        if path.is_dir():
            raise UsageError(f"the list of failed images {path} is a directory: name a file (-o)")
