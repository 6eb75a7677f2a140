"""The record of a commit: the files that get their names together, so that the next command can finish it."""

import errno
import json
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import compress
from pathlib import Path
from typing import Annotated, Self

import msgspec

from hangar_async.archive.names import checksums_path, part_number
from hangar_async.disk import Disk, Failing
from hangar_async.errors import DigestMismatch, StorageError
from hangar_async.filesystem import read_bounded
from hangar_async.oci import PIECE, Digest, read_pieces, verified
from hangar_async.temporary import run_of, run_of_record

VERSION = 1
_RECORD = re.compile(r"\..+\.([0-9]+)-[0-9a-f]+\.commit", re.DOTALL)
#: The errors of a person who may read a directory and not change it.
_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SECONDS_BETWEEN_LOOKS = 0.05
#: The most bytes of a record, enough for 100,000 parts.
MAX_RECORD = 64 << 20


class Rename(msgspec.Struct, frozen=True, array_like=True):
    """A file `source` of `size` bytes that becomes `target`, both plain names in the directory of the record.

    `digest` is its SHA-256 in hexadecimal, None in an archive without a list of digests.
    """

    source: str
    target: str
    size: Annotated[int, msgspec.Meta(ge=0, le=1 << 62)]
    digest: str | None


class _RecordJson(msgspec.Struct):
    version: int
    run: str
    renames: list[Rename]
    removals: list[str]


@dataclass(frozen=True, slots=True)
class CommitRecord:
    """The record at `path` of the commit of `archive` by `run`, which is `PID-RANDOM`.

    Before the record has its name the old archive counts, afterwards the new one. Its content is JSON:
    `{"version", "run", "renames": [[temporary, final, size, sha256]], "removals": [name]}`. `owner` is the user whose
    file it is, and whose the temporary files must be.
    """

    path: Path
    archive: Path
    run: str
    renames: tuple[Rename, ...]
    removals: tuple[str, ...]
    owner: int = field(default_factory=os.geteuid)

    @classmethod
    def read(cls, path: Path, archive: Path) -> Self | None:
        """Read a record; None where it is gone, or one of another user in a directory that all may write.

        Raises StorageError for one that no commit writes.
        """
        try:
            status = path.lstat()
            if path.parent.stat().st_mode & stat.S_ISVTX and status.st_uid != os.geteuid():
                return None
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("it is no file")
            data = read_bounded(path, MAX_RECORD)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StorageError.of(error, path, "read") from error
        except ValueError as error:
            raise record_error(path, archive, f"is damaged: {error}") from error
        try:
            document = msgspec.convert(json.loads(data), _RecordJson)
            record = cls(path, archive, document.run, tuple(document.renames), tuple(document.removals), status.st_uid)
            if document.version != VERSION:
                raise ValueError(f"version {document.version} is not known")
            record._check()
        except (ValueError, RecursionError) as error:
            raise record_error(path, archive, f"is damaged: {error}") from error
        return record

    def _check(self) -> None:
        """Raise ValueError for names that are not those of a commit."""
        if self.run != run_of_record(self.path.name, self.archive.name):
            raise ValueError(f"it is of the run {self.run[:100]!r}")
        for rename in self.renames:
            if run_of(rename.source, self.archive.name) != self.run:
                raise ValueError(f"{rename.source[:200]!r} is no temporary name of this run")
            if rename.digest is not None:
                Digest("sha256", rename.digest)
        targets = [*(rename.target for rename in self.renames), *self.removals]
        for name in targets:
            if name != checksums_path(self.archive).name and part_number(name, self.archive.name) is None:
                raise ValueError(f"{name[:200]!r} is no file of this archive")
        if len(set(targets)) != len(targets):
            raise ValueError("a name is there twice")
        *files, last = [rename.target for rename in self.renames] or [""]
        checksums = checksums_path(self.archive).name
        if not last or (last == checksums and not files):
            raise ValueError("it names no file of the archive")
        if checksums in files or any((rename.digest is None) == (last == checksums) for rename in self.renames):
            raise ValueError("it does not end with the list of digests")

    def encode(self) -> bytes:
        """Return the content of the record."""
        renames = [[rename.source, rename.target, rename.size, rename.digest] for rename in self.renames]
        document = {"version": VERSION, "run": self.run, "renames": renames, "removals": self.removals}
        return json.dumps(document).encode()

    def finish(self, disk: Disk, check_interrupted: Callable[[], None]) -> None:
        """Do the rest of a commit whose run is dead, and remove the record; the caller has locked the directory.

        Files that have their names are hashed; `check_interrupted` is called between pieces, and may raise. Raises
        StorageError where a file is gone. Nothing is changed then.
        """
        left = [os.path.lexists(self.path.with_name(rename.source)) for rename in self.renames]
        for rename, is_left in zip(self.renames, left, strict=True):
            if is_left:
                self._check_left(rename)
            else:
                self._check_done(rename, check_interrupted)
        if left[-1]:
            # In between no list of digests may name a mix.
            disk.remove(checksums_path(self.archive))
        for rename in compress(self.renames, left):
            disk.rename(self.path.with_name(rename.source), self.path.with_name(rename.target))
        for name in self.removals:
            disk.remove(self.path.with_name(name))
        disk.sync(self.path.parent)
        disk.remove(self.path)

    def _check_left(self, rename: Rename) -> None:
        path = self.path.with_name(rename.source)
        with Failing("read", path):
            status = path.lstat()
        if (stat.S_ISREG(status.st_mode), status.st_size, status.st_uid) != (True, rename.size, self.owner):
            raise record_error(self.path, self.archive, f"names {rename.source}, which is another file now")

    def _check_done(self, rename: Rename, check_interrupted: Callable[[], None]) -> None:
        path = self.path.with_name(rename.target)
        try:
            with Failing("read", path):
                status = path.lstat()
            if (stat.S_ISREG(status.st_mode), status.st_size) != (True, rename.size):
                raise StorageError(f"{path} is another file", path=str(path))
            if rename.digest is not None:
                _check_digest(path, Digest("sha256", rename.digest), check_interrupted)
        except (DigestMismatch, StorageError) as error:
            raise record_error(self.path, self.archive, f"names {rename.source}, which is gone ({error})") from error


def _check_digest(path: Path, digest: Digest, check_interrupted: Callable[[], None]) -> None:
    with Failing("read", path), path.open("rb", buffering=0) as file:
        for _ in verified(read_pieces(file, memoryview(bytearray(PIECE))), digest, None):
            check_interrupted()


def record_error(path: Path, archive: Path, problem: str) -> StorageError:
    """Return the error of a record that cannot be followed."""
    return StorageError(
        f"the record {path} of an archive that was being put in place {problem}",
        path=str(path),
        advice=f"move {path.name} away and check {archive} with verify; the new one may be in .{archive.name}.*.tmp",
    )


def find_records(archive: Path, disk: Disk) -> list[CommitRecord]:
    """Find the records of commits of an archive, which are at work or whose run died; raises StorageError."""
    try:
        names = disk.names(archive.parent)
    except StorageError as error:
        if isinstance(error.__cause__, PermissionError):
            # Its archive is read by the names that are known, and by none without its list of digests.
            return []
        raise
    found = (CommitRecord.read(archive.with_name(name), archive) for name in names if run_of_record(name, archive.name))
    return [record for record in found if record is not None]


def finish_commits(archive: Path, disk: Disk, check_interrupted: Callable[[], None]) -> None:
    """Finish the commits of dead runs; the caller has locked the directory. Raises StorageError."""
    for record in find_records(archive, disk):
        record.finish(disk, check_interrupted)


def unfinished_commit(
    archive: Path, disk: Disk, check_interrupted: Callable[[], None] = lambda: None
) -> CommitRecord | None:
    """Finish the commits of dead runs; return the record of one that is at work, or that may not be finished here.

    `check_interrupted` is called between pieces of long work, and ends it by an exception. Raises StorageError for a
    record that is damaged or cannot be finished.
    """
    records = find_records(archive, disk)
    lock = disk.lock_directory(archive.parent, needed=True) if records else None
    if lock is None:
        return records[-1] if records else None
    try:
        finish_commits(archive, disk, check_interrupted)
    except StorageError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _NOT_ALLOWED:
            return records[-1]
        raise
    finally:
        disk.release(lock)
    return None


def wait_for_directory(directory: Path, disk: Disk, notice: Callable[[str], None], check: Callable[[], None]) -> int:
    """Lock a directory for a commit, after those of other processes; the caller releases the descriptor.

    `notice` is told about a wait, and `check` raises to end it. Raises StorageError.
    """
    lock = disk.lock_directory(directory)
    if lock is None:
        processes = [match[1] for name in disk.names(directory) if (match := _RECORD.fullmatch(name))]
        holder = f"process {processes[0]}" if processes else "another process"
        notice(f"waiting for {holder}, which puts an archive in place in {directory}")
    while lock is None:
        check()
        time.sleep(_SECONDS_BETWEEN_LOOKS)
        lock = disk.lock_directory(directory)
    return lock
