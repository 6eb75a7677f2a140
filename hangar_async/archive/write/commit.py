"""The end of a save: files that are whole and synced get their names, all of them or none."""

from __future__ import annotations

import itertools
import os
import re
import secrets
from collections.abc import Sequence
from pathlib import Path

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


class TemporaryNames:
    """Names `.NAME.RUN.N.tmp` beside `target`, in the same directory.

    Number 0 is an empty file that this process holds locked as long as it lives: files of a run whose number 0 can be
    locked, or is gone, are left over. Making one removes what earlier runs left; `close` removes all of this run's.
    Raises StorageError.
    """

    def __init__(self, target: Path, disk: Disk) -> None:
        self._target = target
        self._disk = disk
        self._directory = target.parent
        self._made: list[Path] = []
        self._lock: int | None = None
        self._pattern = re.compile(re.escape(f".{target.name}.") + r"([0-9]+-[0-9a-f]+)\.([0-9]+)\.tmp", re.DOTALL)
        self._remove_leftovers()
        self._hold()

    def new(self) -> Path:
        """Return a name that no file has yet."""
        path = self._path(next(self._numbers))
        self._made.append(path)
        return path

    def forget(self, path: Path) -> None:
        """Leave a file alone from now on."""
        self._made.remove(path)

    def close(self) -> None:
        """Remove the files of this run that still have their temporary names; may be called again.

        Tries each of them before the first error is raised.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            remove_all(self._disk, [*self._made, self._path(0)])
        finally:
            self._disk.release(lock)

    def _path(self, number: int) -> Path:
        return self._directory / f".{self._target.name}.{self._run}.{number}.tmp"

    def _hold(self) -> None:
        while self._lock is None:
            self._run = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._numbers = itertools.count(1)
            self._lock = self._disk.hold(self._path(0))

    def _remove_leftovers(self) -> None:
        runs: dict[str, list[Path]] = {}
        for name in self._disk.names(self._directory):
            if match := self._pattern.fullmatch(name):
                runs.setdefault(match[1], []).append(self._directory / name)
        for self._run, paths in runs.items():
            held = self._path(0)
            lock = self._disk.seize(held)
            if lock is None and os.path.lexists(held):
                continue
            try:
                remove_all(self._disk, [path for path in paths if path != held] + [held])
            finally:
                if lock is not None:
                    self._disk.release(lock)


def remove_all(disk: Disk, paths: list[Path]) -> None:
    """Remove files; tries each of them before the first error is raised."""
    failure: Exception | None = None
    for path in paths:
        try:
            disk.remove(path)
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
