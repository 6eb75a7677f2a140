"""The one place that changes files; every operation is synchronous and meant for a thread."""

import errno
import fcntl
import os
import shutil
import stat
from collections.abc import Iterable, Sequence
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from hangar_async.errors import StorageError

if TYPE_CHECKING:
    from hangar_async.effort import WorkTimes


def remaining(views: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return the buffers without their first `count` bytes, and without empty ones."""
    rest: list[memoryview] = []
    for view in views:
        if count < len(view):
            rest.append(view[count:] if count else view)
        count = max(0, count - len(view))
    return rest


def leading(views: Sequence[memoryview], count: int) -> list[memoryview]:
    """Return the first `count` bytes of buffers."""
    first: list[memoryview] = []
    for view in views:
        if count <= 0:
            break
        first.append(view[:count])
        count -= len(view)
    return first


#: The errors of file systems without hard links, or without symbolic ones.
_NO_LINKS = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EMLINK})
#: The errors of file systems that cannot sync a directory, or lock a file.
_NO_SYNC = frozenset({errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS})
#: EBADF: a network file system wants a file that is open for writing, which no directory can be.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EBADF})
_WITHOUT_SYNC = "the file system of {path} cannot sync directories: after a loss of power, verify what it holds"
_WITHOUT_LOCKS = (
    "the file system of {path} has no locks: two runs must not use one cache, or write one output, there at once"
)
#: So often a lock is tried again whose file has lost its name.
_LOCK_TRIES = 10
_NEW_FILE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
#: The flag for direct writes, past the page cache; 0 where the system has none.
_DIRECT = getattr(os, "O_DIRECT", 0)
#: Addresses, offsets and lengths of direct writes are multiples of this, in bytes.
ALIGNMENT = 4096


class Failing:
    """Turns an OSError of an `action` on `path`, in its block, into a StorageError.

    Each file enters some: a generator as context manager would take twice as long.
    """

    __slots__ = ("_action", "_path")

    def __init__(self, action: str, path: object) -> None:
        self._action = action
        self._path = path

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise the StorageError for an OSError."""
        if isinstance(error, OSError):
            raise StorageError.of(error, self._path, self._action) from error


class Disk:
    """File operations whose errors, StorageErrors, name the path; none is swallowed.

    A file system that cannot lock, or sync a directory, is worked on, and `remarks` tells it.
    """

    @cached_property
    def times(self) -> "WorkTimes":
        """The times of the work of a run, which has one such object."""
        from hangar_async.effort import WorkTimes  # a command that writes nothing does without

        return WorkTimes()

    @cached_property
    def _remarks(self) -> dict[str, Path | None]:
        """The first path of each remark, None once it is told."""
        return {}

    def remarks(self) -> list[str]:
        """Return sentences about what file systems could not do, each once in the life of this object."""
        new = {text: path for text, path in tuple(self._remarks.items()) if path is not None}
        self._remarks.update(dict.fromkeys(new))
        return [text.format(path=path) for text, path in new.items()]

    def make_directory(self, path: Path, mode: int = 0o755) -> None:
        """Make a directory and its parents; one that exists stays as it is."""
        with Failing("make the directory", path):
            path.mkdir(mode=mode, parents=True, exist_ok=True)

    def create(self, path: Path, *, direct: bool = False, mode: int = 0o644) -> int:
        """Open a file that must not exist for reading and writing; the caller closes the descriptor.

        With `direct` writes go to the device at once, and not through the page cache, where the file system allows it.
        They must be aligned then, except at the end of the file.
        """
        with Failing("create", path):
            try:
                return os.open(path, _NEW_FILE | (_DIRECT if direct else 0), mode)
            except OSError as error:
                if not direct or error.errno != errno.EINVAL:
                    raise
            # Some file systems make the file before they refuse.
            path.unlink(missing_ok=True)
            return os.open(path, _NEW_FILE, mode)

    def reopen(self, path: Path) -> int | None:
        """Open an existing regular file, for reading from its start and writing; None where it does not exist.

        Anything else of that name is removed. The caller closes the descriptor.
        """
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        except OSError as error:
            if error.errno not in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                raise StorageError.of(error, path, "open") from error
            self.remove(path)
            return None
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        self.release(descriptor)
        self.remove(path)
        return None

    def is_direct(self, descriptor: int) -> bool:
        """Tell whether writes go past the page cache."""
        return bool(fcntl.fcntl(descriptor, fcntl.F_GETFL) & _DIRECT)

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        """Write all of `data`; a direct file is written through the page cache from the first unaligned piece on."""
        view = memoryview(data)
        with Failing("write", path), self.times.disk.timed():
            while view:
                try:
                    count = os.write(descriptor, view)
                except OSError as error:
                    if error.errno != errno.EINVAL or not self.is_direct(descriptor):
                        raise
                    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
                    fcntl.fcntl(descriptor, fcntl.F_SETFL, flags & ~_DIRECT)
                    continue
                view = view[count:]

    def truncate(self, descriptor: int, path: Path) -> None:
        """Make a file empty and go to its start."""
        with Failing("write", path):
            os.ftruncate(descriptor, 0)
            os.lseek(descriptor, 0, os.SEEK_SET)

    def sync_file(self, descriptor: int, path: Path) -> None:
        """Wait until an open file's content is on the disk."""
        with Failing("sync", path), self.times.disk.timed():
            os.fsync(descriptor)

    def write_back(self, descriptor: int) -> None:
        """Let the system begin to bring an open file's content to the disk, so that a later sync has less to do."""
        if hasattr(os, "posix_fadvise"):
            with suppress(OSError):  # a hint alone
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)

    def close(self, descriptor: int, path: Path) -> None:
        """Close a file; some file systems report a failed write only here."""
        with Failing("close", path):
            os.close(descriptor)

    def release(self, descriptor: int) -> None:
        """Close a file whose content is not needed; errors are ignored."""
        with suppress(OSError):
            os.close(descriptor)

    def sync(self, path: Path) -> None:
        """Wait until a file's content, or the names in a directory, are on the disk."""
        with Failing("sync", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            except OSError as error:
                # Some network file systems cannot sync a directory; a file's content is never left out.
                if error.errno not in _NO_SYNC or not path.is_dir():
                    raise
                self._remarks.setdefault(_WITHOUT_SYNC, path.absolute())
            finally:
                os.close(descriptor)

    def write_new(self, path: Path, data: bytes | Iterable[bytes], *, sync: bool = False, mode: int = 0o644) -> None:
        """Write a new file whole: a small one, or one in pieces."""
        descriptor = self.create(path, mode=mode)
        try:
            for piece in (data,) if isinstance(data, bytes) else data:
                self.write(descriptor, piece, path)
            if sync:
                self.sync_file(descriptor, path)
        finally:
            self.close(descriptor, path)

    def restrict(self, path: Path, mode: int) -> None:
        """Give a file other rights."""
        with Failing("restrict", path):
            path.chmod(mode)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file or directory its final name, in place of a file that has it."""
        with Failing("rename to", target):
            source.replace(target)

    def keep(self, path: Path, name: Path) -> bool:
        """Give a file a second name, or only that one without hard links; False where the file does not exist."""
        if not os.path.lexists(path):
            return False
        try:
            os.link(path, name, follow_symlinks=False)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise StorageError.of(error, name, "link") from error
            self.rename(path, name)
        return True

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
        """Remove a file, a link or a whole directory, if it exists."""
        with Failing("remove", path):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)

    def names(self, directory: Path, *, directories: bool = False) -> list[str]:
        """List the names of the files in a directory, sorted; its directories are left out unless asked for."""
        with Failing("read", directory), os.scandir(directory) as entries:
            return sorted(entry.name for entry in entries if directories or not entry.is_dir(follow_symlinks=False))

    def lock(self, path: Path) -> int | None:
        """Lock a file, made if needed, until the returned descriptor is closed; None when another process has the lock.

        The kernel frees the lock of a process that died.
        """
        for is_last in (*[False] * _LOCK_TRIES, True):
            with Failing("open", path):
                descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
            lock = self._locked(descriptor, path)
            # Another process may have removed the file meanwhile, and others lock the next one of the name. On some
            # file systems an open file never looks the same as its name.
            if lock is None or is_last or _has_name(lock, path):
                break
            self.release(lock)
        return lock

    def lock_directory(self, path: Path, *, needed: bool = False) -> int | None:
        """Lock an existing directory until the returned descriptor is closed; None when another process has the lock.

        No file is made. On a file system without such locks the descriptor stands for none, or is None if `needed`.
        """
        with Failing("open", path):
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        return self._locked(descriptor, path, needed=needed)

    def seize(self, path: Path) -> int | None:
        """Lock an existing file; None when another process or user has it, it is gone, or nothing can be locked."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except (FileNotFoundError, PermissionError):
            return None
        except OSError as error:
            if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO):
                return None  # no file of ours has this name
            raise StorageError.of(error, path, "open") from error
        return self._locked(descriptor, path, needed=True)

    def hold(self, path: Path) -> int | None:
        """Make a file and lock it for this process until the returned descriptor is closed.

        None when another process removed it meanwhile as a leftover: the caller tries again.
        """
        descriptor = self.create(path)
        try:
            with Failing("lock", path):
                self._flock(descriptor, fcntl.LOCK_EX, path)
                if os.fstat(descriptor).st_nlink:
                    return descriptor
        except BaseException:
            self.release(descriptor)
            self.remove(path)
            raise
        self.release(descriptor)
        return None

    def _locked(self, descriptor: int, path: Path, *, needed: bool = False) -> int | None:
        try:
            if self._flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, path) or not needed:
                return descriptor
        except BlockingIOError:
            pass
        except OSError as error:
            self.release(descriptor)
            raise StorageError.of(error, path, "lock") from error
        self.release(descriptor)
        return None

    def _flock(self, descriptor: int, operation: int, path: Path) -> bool:
        """Lock a file; False on a file system without locks."""
        try:
            fcntl.flock(descriptor, operation)
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            self._remarks.setdefault(_WITHOUT_LOCKS, path.absolute())
            return False
        return True


def _has_name(descriptor: int, path: Path) -> bool:
    """Tell whether an open file still has its name."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except FileNotFoundError:
        return False
