"""The end of a save: complete and synced files get their names, all of them or none."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from hangar_async.archive.commit_record import CommitRecord, Rename, finish_commits, wait_for_directory
from hangar_async.archive.names import CHECKSUMS_SUFFIX, checksums_path, part_number
from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.temporary import TemporaryFiles


class Commit:
    """The commit of one archive, `target`, whose files have names of `files`; in a thread.

    `notice` is told about what a person should know, and `check` raises to end the wait for another process. `close`
    ends it. Raises StorageError.
    """

    def __init__(
        self, target: Path, files: TemporaryFiles, disk: Disk, notice: Callable[[str], None], check: Callable[[], None]
    ) -> None:
        self._target = target
        self._files = files
        self._disk = disk
        self._notice = notice
        self._check = check
        self._lock: int | None = None

    def lock(self) -> None:
        """Wait until no other process commits in the directory, which then is locked until `close`.

        The commits of dead runs are finished.
        """
        if self._lock is None:
            self._lock = wait_for_directory(self._target.parent, self._disk, self._notice, self._check)
            finish_commits(self._target, self._disk, self._check)

    def retarget(self, target: Path, files: TemporaryFiles) -> None:
        """Commit another archive in the same directory, whose lock stays."""
        self._target, self._files = target, files

    def close(self) -> None:
        """Release the directory; may be called again."""
        lock, self._lock = self._lock, None
        if lock is not None:
            self._disk.release(lock)

    def run(self, renames: Sequence[Rename], *, sync: bool) -> None:
        """Give each file its name, the list of digests last, and remove other files of an earlier archive.

        Without a new list of digests the old one goes all the same. From the moment that the record of the commit has
        its name, the next command finishes it where this process dies. When a rename or a sync fails, the earlier files
        get their names back.
        """
        checksums = checksums_path(self._target)
        sources = {self._path(rename.target): self._path(rename.source) for rename in renames}
        for path in (*sources, checksums):
            if path.is_dir() and not path.is_symlink():
                raise StorageError(
                    f"cannot write {path}: it is a directory", path=str(path), advice="choose another name"
                )
        self.lock()
        finish_commits(self._target, self._disk, self._check)
        stale = self._stale({path.name for path in sources})
        record = CommitRecord(self._files.record, self._target, self._files.run, tuple(renames), tuple(stale))
        replaced: list[tuple[Path, Path | None]] = []
        try:
            self._write(record, sync)
            # The old list of digests goes first: it would be of a mix.
            for path in dict.fromkeys((checksums, *sources)):
                old = self._files.new()
                kept = self._disk.keep(path, old)
                replaced.append((path, old if kept else None))
                if path == checksums and kept:
                    self._disk.remove(path)
            for path, source in sources.items():
                self._disk.rename(source, path)
            if sync:
                self._disk.sync(self._target.parent)
        except BaseException:
            self._put_back(sources, replaced)
            raise
        try:
            # The old list of digests is gone already.
            older = [path for name in stale if (path := self._path(name)) != checksums]
            for path in older:
                self._disk.remove(path)
            if older and sync:
                # An older part that came back without the record would look like one of this archive.
                self._disk.sync(self._target.parent)
            self._disk.remove(record.path)
        except StorageError as error:
            # The next command finishes it.
            self._notice(f"the archive is in place, but {error}")

    def _path(self, name: str) -> Path:
        return self._target.with_name(name)

    def _write(self, record: CommitRecord, sync: bool) -> None:
        temporary = self._files.new()
        self._disk.write_new(temporary, record.encode(), sync=sync)
        if sync:
            # The names in the record are on the disk before the record is.
            self._disk.sync(self._target.parent)
        self._disk.rename(temporary, record.path)
        if sync:
            self._disk.sync(self._target.parent)

    def _stale(self, current: set[str]) -> list[str]:
        """List the files of an earlier archive of this name: its parts, or itself, and its list of digests.

        A file with its own list of digests is an archive by itself.
        """
        names = self._disk.names(self._target.parent)
        archives = {name.removesuffix(CHECKSUMS_SUFFIX) for name in names if name.endswith(CHECKSUMS_SUFFIX)}
        others = current | (archives - {self._target.name})
        checksums = checksums_path(self._target).name
        return [
            name
            for name in names
            if name not in others and (name == checksums or part_number(name, self._target.name) is not None)
        ]

    def _put_back(self, sources: Mapping[Path, Path], replaced: Sequence[tuple[Path, Path | None]]) -> None:
        """Give the earlier files their names; where that fails, the record stays, and the next command goes on."""
        for target, old in reversed(replaced):
            source = sources.get(target)
            if source is not None and not source.exists():
                self._disk.rename(target, source)
            if old is not None:
                self._disk.rename(old, target)
                # Before the new file has the name, both names are of one file, and a rename between them does nothing.
                self._disk.remove(old)
        self._disk.remove(self._files.record)
        with suppress(StorageError):
            # The record is gone for good before the files that it names are.
            self._disk.sync(self._target.parent)
