"""The one place of this room that changes files; every operation is synchronous and meant for a thread."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hangar_async.errors import StorageError

# What file systems without hard links answer.
_NO_LINKS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EMLINK})
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


@contextmanager
def failing(doing: str, path: object) -> Iterator[None]:
    """Make a StorageError of an OSError."""
    try:
        yield
    except OSError as error:
        raise StorageError.of(error, path, doing) from error


class Files:
    """File operations whose errors name the path; no error is swallowed."""

    def create(self, path: Path) -> int:
        """Open a file that must not exist; the caller closes the descriptor."""
        with failing("create", path):
            return os.open(path, _NEW_FILE, 0o644)

    def write(self, descriptor: int, data: memoryview, path: Path) -> None:
        """Write all of `data`."""
        with failing("write", path):
            while data:
                data = data[os.write(descriptor, data) :]

    def write_file(self, path: Path, data: bytes, *, sync: bool) -> None:
        """Write a small new file whole."""
        descriptor = self.create(path)
        try:
            self.write(descriptor, memoryview(data), path)
            if sync:
                self.sync(descriptor, path)
        finally:
            self.close(descriptor, path)

    def sync(self, descriptor: int, path: Path) -> None:
        """Wait until a file's content is on the disk."""
        with failing("sync", path):
            os.fsync(descriptor)

    def close(self, descriptor: int, path: Path) -> None:
        """Close a file; some file systems report a failed write only here."""
        with failing("close", path):
            os.close(descriptor)

    def release(self, descriptor: int) -> None:
        """Close a file whose content nobody needs, so that an error says nothing."""
        with suppress(OSError):
            os.close(descriptor)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file its name, in place of a file that has it."""
        with failing("rename to", target):
            source.replace(target)

    def keep(self, path: Path, name: Path) -> bool:
        """Give a file a second name, or only that one where there are no hard links; False where there is no file."""
        if not os.path.lexists(path):
            return False
        try:
            os.link(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise StorageError.of(error, name, "link") from error
            self.rename(path, name)
        return True

    def remove(self, path: Path) -> None:
        """Remove a file; one that is not there is no error."""
        with failing("remove", path):
            path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        """Wait until the names in a directory are on the disk."""
        with failing("sync", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def names(self, directory: Path) -> list[str]:
        """List the names of the files in a directory, sorted; directories are left out."""
        with failing("read", directory), os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if not entry.is_dir(follow_symlinks=False))

    def hold(self, path: Path) -> int | None:
        """Make a file and lock it for this process until the returned descriptor is closed.

        None when another process removed it meanwhile, taking it for a dead one's: the caller tries again.
        """
        descriptor = self.create(path)
        try:
            with failing("lock", path):
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
        except BaseException:
            self.release(descriptor)
            self.remove(path)
            raise
        self.release(descriptor)
        return None

    def seize(self, path: Path) -> int | None:
        """Lock a file that is there; None when a living process or another user holds it, or it is gone."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return None
        except OSError as error:
            raise StorageError.of(error, path, "open") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self.release(descriptor)
            return None
        except OSError as error:
            self.release(descriptor)
            raise StorageError.of(error, path, "lock") from error
        return descriptor
