"""The end of a save: files that are whole and synced get their names, all of them or none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from hangar_async.archive.temporary import TemporaryNames, remove_all
from hangar_async.disk import Disk
from hangar_async.errors import StorageError

_PADDED_FROM = 11


def part_paths(target: Path, count: int) -> tuple[Path, ...]:
    """Name the parts of an archive: `NAME.part0` and so on, of equal width when there are more than ten."""
    width = len(str(count - 1)) if count >= _PADDED_FROM else 1
    return tuple(target.with_name(f"{target.name}.part{number:0{width}}") for number in range(count))


def place(names: TemporaryNames, disk: Disk, target: Path, moves: Sequence[tuple[Path, Path]], *, sync: bool) -> None:
    """Rename each temporary file to its name, sync the directory, and remove what else an earlier run left there.

    When a rename or the sync fails, the files that were there before get their names back. Raises StorageError.
    """
    for _, path in moves:
        if path.is_dir() and not path.is_symlink():
            raise StorageError(f"cannot write {path}: it is a directory", path=str(path), advice="choose another name")
    others = stale(disk, target, {path.name for _, path in moves})
    kept: list[tuple[Path, Path | None]] = []
    try:
        for source, path in moves:
            old = names.new()
            kept.append((path, old if disk.keep(path, old) else None))
            disk.rename(source, path)
        if sync:
            disk.sync(target.parent)
    except BaseException:
        _put_back(names, disk, kept)
        raise
    remove_all(disk, others)


def stale(disk: Disk, target: Path, current: set[str]) -> list[Path]:
    """List the files of an earlier archive of this name: its parts, or itself."""
    pattern = re.compile(re.escape(target.name) + r"(\.part[0-9]+)?", re.DOTALL)
    names = disk.names(target.parent)
    return [target.with_name(name) for name in names if pattern.fullmatch(name) and name not in current]


def _put_back(names: TemporaryNames, disk: Disk, kept: Sequence[tuple[Path, Path | None]]) -> None:
    for path, old in reversed(kept):
        if old is None:
            disk.remove(path)
            continue
        # Should this fail too, the old file stays at least under its other name.
        names.forget(old)
        disk.rename(old, path)
        # Where the new file had not come yet, both names are of one file, and a rename between such does nothing.
        disk.remove(old)
