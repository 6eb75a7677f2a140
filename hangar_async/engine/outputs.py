"""The outputs of a run: the checks before any work starts, temporary directories, and the list of failed images."""

import os
from collections.abc import AsyncIterator, Iterable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

from hangar_async.config.options import SaveOptions
from hangar_async.config.output import OutputSettings
from hangar_async.disk import Disk
from hangar_async.errors import UsageError
from hangar_async.filesystem import check_parent, fitting_part, largest_file
from hangar_async.threads import in_thread


def check_destination(options: SaveOptions) -> None:
    """Raise UsageError when the output cannot be made under its name; synchronous, for a thread."""
    check_failed_list(options.failed)
    output = options.output
    check_target(output.target, directory=output.format == "dir")
    check_part_size(output)
    if output.format == "dir" and options.cache is not None:
        cache, target = options.cache.resolve(), output.target.resolve()
        if target == cache or target in cache.parents or cache in target.parents:
            raise UsageError(
                f"the destination {output.target} overlaps the cache {options.cache}: choose another name (-d)"
            )


def check_part_size(output: OutputSettings) -> None:
    """Raise UsageError for parts that are larger than a file may be on their file system."""
    largest = largest_file(output.target.parent)
    if largest is not None and output.part_size is not None and output.part_size > largest:
        raise UsageError(
            f"a file at {output.target.parent.absolute()} has at most {largest:,} bytes, and a part of "
            f"{output.part_size:,} would be larger: write --part-size {fitting_part(largest)}"
        )


def check_target(target: Path, *, directory: bool, flag: str = "-d") -> None:
    """Raise UsageError when there can be no new file, or directory, of this name, which `flag` gives."""
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
    if target.is_dir() and _is_filled(target):
        raise UsageError(
            f"the destination {target} exists and is not empty: remove it, or choose another name ({flag})"
        )


def _is_filled(directory: Path) -> bool:
    with os.scandir(directory) as entries:
        return any(True for _ in entries)


@asynccontextmanager
async def temporary_directory(parent: Path, prefix: str) -> AsyncIterator[Path]:
    """Make a directory for the block, which is removed at its end; raises StorageError."""
    disk = Disk()
    with ExitStack() as made:

        def make() -> Path:
            directory = disk.make_temporary(parent, prefix)
            # On the stack before the thread ends: a cancellation here must remove it too.
            made.callback(disk.remove, directory)
            return directory

        try:
            yield await in_thread(make)
        finally:
            await in_thread(made.close)


def check_failed_list(path: Path | None) -> None:
    """Raise UsageError when the list of failed images cannot be written."""
    if path is not None:
        check_parent(path, "-o")
        if path.is_dir():
            raise UsageError(f"the list of failed images {path} is a directory: name a file (-o)")


def write_failed_list(path: Path | None, lines: Iterable[str]) -> Path | None:
    """Write the lines of failed images, or remove the list when no image failed; synchronous, for a thread.

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
