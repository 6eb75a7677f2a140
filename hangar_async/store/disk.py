"""The one place of this room that changes files; every operation is synchronous and meant for a thread."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import threading
from pathlib import Path

from hangar_async.errors import StorageError

# What file systems without symbolic links answer.
_NO_LINKS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})
_NEW_FILE = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Disk:
    """File operations whose errors name the path; no error is swallowed."""

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        """Make a directory and its parents; one that is there stays as it is."""
        try:
            path.mkdir(mode=mode, parents=True, exist_ok=True)
        except OSError as error:
            raise StorageError.of(error, path, "make the directory") from error

    def create(self, path: Path) -> int:
        """Open a file that must not exist for reading and writing; the caller closes the descriptor."""
        try:
            return os.open(path, os.O_RDWR | _NEW_FILE, 0o644)
        except OSError as error:
            raise StorageError.of(error, path, "create") from error

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        """Write all of `data`."""
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(descriptor, view) :]
        except OSError as error:
            raise StorageError.of(error, path) from error

    def truncate(self, descriptor: int, path: Path) -> None:
        """Make a file empty and go to its start."""
        try:
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)
        except OSError as error:
            raise StorageError.of(error, path) from error

    def close(self, descriptor: int, path: Path) -> None:
        """Close a file; some file systems report a failed write only here."""
        try:
            os.close(descriptor)
        except OSError as error:
            raise StorageError.of(error, path, "close") from error

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or directory its final name, in place of a file that has it."""
        try:
            source.replace(target)
        except OSError as error:
            raise StorageError.of(error, target, "rename to") from error

    def write_file(self, path: Path, data: bytes) -> None:
        """Write a small file whole, under a temporary name first, so that a reader sees the old one or the new."""
        # Two threads may write one document at the same moment, when two names stand for the same image.
        temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.tmp")
        self.remove(temporary)
        descriptor = self.create(temporary)
        try:
            try:
                self.write(descriptor, data, temporary)
            finally:
                self.close(descriptor, temporary)
            self.rename(temporary, path)
        except BaseException:
            self.remove(temporary)
            raise

    def link(self, path: Path, target: str) -> bool:
        """Make `path` a relative symbolic link to `target`; returns False where the file system has no links."""
        try:
            if path.is_symlink() and str(path.readlink()) == target:
                return True
            self.remove(path)
            path.symlink_to(target)
        except OSError as error:
            if error.errno in _NO_LINKS:
                return False
            raise StorageError.of(error, path, "make the link") from error
        return True

    def remove(self, path: Path) -> None:
        """Remove a file, a link or a whole directory; one that is not there is no error."""
        try:
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        except OSError as error:
            raise StorageError.of(error, path, "remove") from error

    def sync(self, path: Path) -> None:
        """Wait until a file's or directory's content is on the disk."""
        try:
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise StorageError.of(error, path, "sync") from error

    def lock(self, path: Path) -> int | None:
        """Lock a file for this process until the returned descriptor is closed; None when another one holds it.

        The kernel frees the lock of a process that died.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise StorageError.of(error, path, "open") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        except OSError as error:
            os.close(descriptor)
            raise StorageError.of(error, path, "lock") from error
        return descriptor
