"""Where the output goes: refused before any work starts when it cannot be written there."""

from __future__ import annotations

import os
from pathlib import Path

from hangar_async.config.options import SaveOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine.failed_list import check_failed_list
from hangar_async.errors import UsageError
from hangar_async.filesystem import check_parent, fitting_part, largest_file


def check_destination(options: SaveOptions) -> None:
    """Raise UsageError when the output cannot be made under its name; synchronous, for a thread."""
    check_failed_list(options.failed)
    check_target(options.target, directory=options.format == "dir")
    check_part_size(options.output)
    cache, place = options.cache.resolve(), options.target.resolve()
    if options.format == "dir" and (place == cache or place in cache.parents or cache in place.parents):
        raise UsageError(
            f"the destination {options.target} overlaps the cache {options.cache}: choose another name (-d)"
        )


def check_part_size(output: OutputSettings) -> None:
    """Raise UsageError for parts that are larger than a file may be where they go."""
    largest = largest_file(output.target.parent)
    if largest is not None and output.part_size is not None and output.part_size > largest:
        raise UsageError(
            f"a file at {output.target.parent.absolute()} has at most {largest:,} bytes, and a part of "
            f"{output.part_size:,} would be larger: write --part-size {fitting_part(largest)}"
        )


def check_target(target: Path, *, directory: bool, flag: str = "-d") -> None:
    """Raise UsageError when there can be no new file, or no new directory, of this name; `flag` is what names it."""
    check_parent(target, flag)
    if not target.name:
        raise UsageError(f"{str(target)!r} names nothing that could be made ({flag}): write a name")
    if not directory:
        if target.is_dir():
            raise UsageError(f"the destination {target} is a directory: name a file ({flag})")
        return
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise UsageError(
            f"the destination {target} exists and is no directory: remove it, or choose another name ({flag})"
        )
    if target.is_dir() and _filled(target):
        raise UsageError(
            f"the destination {target} exists and is not empty: remove it, or choose another name ({flag})"
        )


def _filled(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return any(True for _ in entries)
