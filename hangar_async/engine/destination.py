"""Where the output goes: refused before any work starts when it cannot be written there."""

from __future__ import annotations

import os
from pathlib import Path

from hangar_async.config import SaveOptions
from hangar_async.errors import UsageError


def check_destination(options: SaveOptions) -> None:
    """Raise UsageError when the output cannot be made under its name; synchronous, for a thread."""
    target = options.target
    _check_parent(target, "-d")
    if options.failed is not None:
        _check_parent(options.failed, "-o")
        if options.failed.is_dir():
            raise UsageError(f"the list of failed images {options.failed} is a directory: name a file (-o)")
    if options.format != "dir":
        if target.is_dir():
            raise UsageError(f"the destination {target} is a directory: name a file, or choose --compress dir")
        return
    cache, place = options.cache.resolve(), target.resolve()
    if place == cache or place in cache.parents or cache in place.parents:
        raise UsageError(f"the destination {target} overlaps the cache {options.cache}: choose another name (-d)")
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(f"the destination {target} exists and is no directory: remove it, or choose another name (-d)")
    if target.is_dir() and _filled(target):
        raise UsageError(f"the destination {target} exists and is not empty: remove it, or choose another name (-d)")


def _check_parent(path: Path, flag: str) -> None:
    parent = path.parent
    if not parent.is_dir():
        raise UsageError(f"the directory {parent} does not exist ({flag} {path}): make it first")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"the directory {parent} cannot be written ({flag} {path}): choose another one")


def _filled(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return any(True for _ in entries)
