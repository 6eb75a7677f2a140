"""Temporary names beside an output: locked as long as their run lives, and removed by the next run when it died."""

import itertools
import os
import re
import secrets
from collections.abc import Callable, Iterable
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.errors import StorageError

_RUN = "[0-9]+-[0-9a-f]+"
#: The most bytes that a temporary name has beside the name of the output, with the longest number of a process.
LONGEST_ADDITION = len("..4194304-00000000.999999.tmp")


class TemporaryFiles:
    """Files or directories `.NAME.RUN.N.tmp` beside `target`, in the same directory.

    Number 0 is an empty file that this process keeps locked as long as it lives: the files of a run whose number 0 can
    be locked, or is gone, are leftovers, unless the run has a `record`. Making one removes leftovers; `close` removes
    the files of this run. `notice` is told about what cannot be removed, which the next run tries again. Raises
    StorageError.
    """

    def __init__(self, target: Path, disk: Disk, notice: Callable[[str], None] = lambda _: None) -> None:
        self.target = target
        self._disk = disk
        self._notice = notice
        self._made: list[Path] = []
        self._lock: int | None = None
        self._remove_leftovers()
        while self._lock is None:
            self.run = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._numbers = itertools.count(1)
            self._lock = disk.hold(self._path(self.run, 0))

    @property
    def record(self) -> Path:
        """The path of the record of this run's commit: as long as it is there, no file of the run is a leftover."""
        return self._record(self.run)

    def new(self) -> Path:
        """Return an unused name."""
        path = self._path(self.run, next(self._numbers))
        self._made.append(path)
        return path

    def forget(self, path: Path) -> None:
        """Keep a file at `close`."""
        self._made.remove(path)

    def close(self) -> None:
        """Remove the files of this run that still have their temporary names; may be called again.

        While the record of the commit is there they stay.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            if not os.path.lexists(self.record):
                self._remove_all([*self._made, self._path(self.run, 0)])
        finally:
            self._disk.release(lock)

    def _path(self, run: str, number: int) -> Path:
        return self.target.with_name(f".{self.target.name}.{run}.{number}.tmp")

    def _record(self, run: str) -> Path:
        return self.target.with_name(f".{self.target.name}.{run}.commit")

    def _remove_leftovers(self) -> None:
        runs: dict[str, list[Path]] = {}
        for name in self._disk.names(self.target.parent, directories=True):
            if run := run_of(name, self.target.name):
                runs.setdefault(run, []).append(self.target.with_name(name))
        for run, paths in runs.items():
            self._remove_run(run, paths)

    def _remove_run(self, run: str, paths: list[Path]) -> None:
        lock_file = self._path(run, 0)
        lock = self._disk.seize(lock_file)
        if lock is None and os.path.lexists(lock_file):
            return
        try:
            # Looked for now: the run is dead, and writes none any more.
            if not os.path.lexists(self._record(run)):
                self._remove_all([path for path in paths if path != lock_file] + [lock_file])
        finally:
            if lock is not None:
                self._disk.release(lock)

    def _remove_all(self, paths: Iterable[Path]) -> None:
        for path in paths:
            try:
                self._disk.remove(path)
            except StorageError as error:
                self._notice(str(error))


def run_of(name: str, target: str) -> str | None:
    """Return the run of a temporary name of `target`; None for any other name."""
    match = re.fullmatch(re.escape(f".{target}.") + rf"({_RUN})\.[0-9]+\.tmp", name, re.DOTALL)
    return match[1] if match else None


def run_of_record(name: str, target: str) -> str | None:
    """Return the run whose commit a file of this name records, for `target`; None for any other name."""
    match = re.fullmatch(re.escape(f".{target}.") + rf"({_RUN})\.commit", name, re.DOTALL)
    return match[1] if match else None


def write_output(path: Path, data: bytes, disk: Disk, *, mode: int = 0o644) -> None:
    """Write a small output: a reader sees the old file or the new one, and so it is after a loss of power.

    Raises StorageError; the file is then the old one, or the new one whose name is not known to be on the disk.
    """
    files = TemporaryFiles(path, disk)
    try:
        temporary = files.new()
        disk.write_new(temporary, data, sync=True, mode=mode)
        disk.rename(temporary, path)
        disk.sync(path.parent)
    finally:
        files.close()
