"""The temporary files of a run: named so that nothing takes them for the archive, and known to be of a living run."""

from __future__ import annotations

import itertools
import os
import re
import secrets
from pathlib import Path

from hangar_async.disk import Disk


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
