"""The end of a save: complete and synced files get their names, all of them or none."""

import itertools
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from pathlib import Path

from hangar_async.archive.names import part_number
from hangar_async.disk import Disk
from hangar_async.errors import StorageError


class TemporaryFiles:
    """Files `.NAME.RUN.N.tmp` beside `target`, in the same directory.

    Number 0 is an empty file that this process keeps locked as long as it lives: the files of a run whose number 0 can
    be locked, or is gone, are leftovers. Making one removes leftovers; `close` removes the files of this run. Raises
    StorageError.
    """

    def __init__(self, target: Path, disk: Disk) -> None:
        self._target = target
        self._disk = disk
        self._made: list[Path] = []
        self._lock: int | None = None
        self._remove_leftovers()
        while self._lock is None:
            self._run = f"{os.getpid()}-{secrets.token_hex(4)}"
            self._numbers = itertools.count(1)
            self._lock = disk.hold(self._path(0))

    def new(self) -> Path:
        """Return an unused name."""
        path = self._path(next(self._numbers))
        self._made.append(path)
        return path

    def forget(self, path: Path) -> None:
        """Keep a file at `close`."""
        self._made.remove(path)

    def commit(self, moves: Sequence[tuple[Path, Path]], *, sync: bool) -> None:
        """Rename each temporary file to its name, sync the directory, and remove other files of an earlier archive.

        When a rename or the sync fails, the earlier files get their names back. Raises StorageError.
        """
        for _, path in moves:
            if path.is_dir() and not path.is_symlink():
                raise StorageError(
                    f"cannot write {path}: it is a directory", path=str(path), advice="choose another name"
                )
        stale = self._stale({path.name for _, path in moves})
        replaced: list[tuple[Path, Path | None]] = []
        try:
            for source, path in moves:
                old = self.new()
                replaced.append((path, old if self._disk.keep(path, old) else None))
                self._disk.rename(source, path)
            if sync:
                self._disk.sync(self._target.parent)
        except BaseException:
            self._put_back(replaced)
            raise
        _remove_all(self._disk, stale)

    def close(self) -> None:
        """Remove the files of this run that still have their temporary names; may be called again.

        Each of them is tried before the first error is raised.
        """
        lock, self._lock = self._lock, None
        if lock is None:
            return
        try:
            _remove_all(self._disk, [*self._made, self._path(0)])
        finally:
            self._disk.release(lock)

    def _path(self, number: int) -> Path:
        return self._target.with_name(f".{self._target.name}.{self._run}.{number}.tmp")

    def _stale(self, current: set[str]) -> list[Path]:
        """List the files of an earlier archive of this name: its parts, or itself."""
        names = [name for name in self._disk.names(self._target.parent) if name not in current]
        return [self._target.with_name(name) for name in names if part_number(name, self._target.name) is not None]

    def _put_back(self, replaced: Sequence[tuple[Path, Path | None]]) -> None:
        for path, old in reversed(replaced):
            if old is None:
                self._disk.remove(path)
                continue
            # If this fails too, the old file stays under its other name.
            self.forget(old)
            self._disk.rename(old, path)
            # Before the new file has the name, both names are of one file, and a rename between them does nothing.
            self._disk.remove(old)

    def _remove_leftovers(self) -> None:
        pattern = re.compile(re.escape(f".{self._target.name}.") + r"([0-9]+-[0-9a-f]+)\.[0-9]+\.tmp", re.DOTALL)
        runs: dict[str, list[Path]] = {}
        for name in self._disk.names(self._target.parent):
            if match := pattern.fullmatch(name):
                runs.setdefault(match[1], []).append(self._target.with_name(name))
        for self._run, paths in runs.items():
            lock_file = self._path(0)
            lock = self._disk.seize(lock_file)
            if lock is None and os.path.lexists(lock_file):
                continue
            try:
                _remove_all(self._disk, [path for path in paths if path != lock_file] + [lock_file])
            finally:
                if lock is not None:
                    self._disk.release(lock)


def _remove_all(disk: Disk, paths: Iterable[Path]) -> None:
    """Remove files; each of them is tried before the first error is raised."""
    failure: Exception | None = None
    for path in paths:
        try:
            disk.remove(path)
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
