"""The limits of a file system, free space, the largest file and names, and of the files that a process has open."""

import os
import resource
import stat
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path

from hangar_async.disk import Disk, Failing
from hangar_async.errors import UsageError


def real_path(path: Path) -> Path:
    """Return the path that a link leads to, also where nothing is there yet; any other path as it is.

    Raises OSError, as for links that lead in a circle.
    """
    if not path.is_symlink():
        return path
    with suppress(FileNotFoundError):
        path.stat()
    return Path(os.path.realpath(path))


def check_parent(path: Path, flag: str) -> None:
    """Raise UsageError when the directory of a path that a flag names is not there, or cannot be written or listed.

    Without its list older parts of an archive, and what a dead run left, would stay. Raises OSError too.
    """
    check_rights(path.parent, f"{flag} {path}")


def check_made_directory(path: Path, flag: str) -> None:
    """Raise UsageError for a directory that cannot be used, or made with those above it; raises OSError too."""
    path = path.absolute()
    place = _closest(path)
    check_rights(place, flag if place == path else f"{flag} {path}", is_listed=place == path)
    longest = os.pathconf(place, "PC_NAME_MAX")
    for name in path.relative_to(place).parts:
        if len(os.fsencode(name)) > longest:
            raise UsageError(f"the name {name} has more than {longest} bytes ({flag}): write a shorter one")


def _closest(path: Path) -> Path:
    for place in (path, *path.parents):
        with suppress(FileNotFoundError):
            place.lstat()
            return place
    return path


def check_rights(directory: Path, subject: str, *, is_listed: bool = True) -> None:
    """Raise UsageError when a directory that `subject` names is not there, or cannot be written or `is_listed`."""
    try:
        is_directory = stat.S_ISDIR(directory.stat().st_mode)
    except FileNotFoundError:
        raise UsageError(f"the directory {directory} does not exist ({subject}): make it first") from None
    if not is_directory:
        raise UsageError(f"{directory} is no directory ({subject}): choose another path")
    for needed, right in ((os.W_OK | os.X_OK, "written"), (os.R_OK if is_listed else 0, "listed")):
        if not os.access(directory, needed):
            raise UsageError(
                f"the directory {directory} cannot be {right} ({subject}): correct its permissions, or choose another"
            )


#: Files that a run has open besides those of its transfers.
_OTHER_FILES = 40
#: A transfer has a connection and a file.
_FILES_OF_A_TRANSFER = 2
#: The limit that a run asks for: programs that it starts may look at each number below it.
MOST_OPEN_FILES = 65_536


def most_transfers() -> int:
    """Return how many transfers at once the limit of open files allows, at least 1."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = MOST_OPEN_FILES if soft == resource.RLIM_INFINITY else soft
    return max(1, (soft - _OTHER_FILES) // _FILES_OF_A_TRANSFER)


MIB = 1 << 20


def fitting_part(largest: int) -> str:
    """Return the largest size of a part, in the form of the flag, for files of at most `largest` bytes."""
    return f"{largest // MIB}M" if largest >= MIB else str(largest)


#: Types whose files are shorter than 4 GiB; the length is a field of 32 bits.
_FAT = frozenset({"vfat", "msdos", "umsdos", "fat"})
_FAT_LARGEST = (4 << 30) - 1
_MOUNTS = Path("/proc/self/mountinfo")


def nearest(path: Path) -> Path:
    """Return the path, or the closest directory above it that exists."""
    path = path.absolute()
    return next((parent for parent in (path, *path.parents) if parent.exists()), path)


def free_bytes(path: Path) -> int:
    """Return the free bytes of the file system on which a path is, or will be; raises StorageError."""
    place = nearest(path)
    with Failing("look at", place):
        status = os.statvfs(place)
    return status.f_bavail * status.f_frsize


def device(path: Path) -> int:
    """Name the file system on which a path is, or will be; raises StorageError."""
    place = nearest(path)
    with Failing("look at", place):
        return place.stat().st_dev


def largest_file(path: Path, mounts: Path = _MOUNTS) -> int | None:
    """Return the size limit of a file where a path is, None where none is known; raises StorageError."""
    limit, _ = resource.getrlimit(resource.RLIMIT_FSIZE)
    limits = [] if limit == resource.RLIM_INFINITY else [limit]
    if file_system(path, mounts) in _FAT:
        limits.append(_FAT_LARGEST)
    return min(limits, default=None)


def file_system(path: Path, mounts: Path = _MOUNTS) -> str:
    """Name the type of the file system on which a path is; "" where it is not known.

    Source: proc(5), "/proc/pid/mountinfo".
    """
    number = device(path)
    device_id = f"{os.major(number)}:{os.minor(number)}"
    return next((kind for place, kind in _mounted(mounts) if place == device_id), "")


def _mounted(mounts: Path) -> Iterator[tuple[str, str]]:
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) > 2 and kind:
            yield fields[2], kind[0]


def allow_open_files(count: int) -> int:
    """Raise the process's limit of open files to `count`, as far as the system lets us, and return the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft == resource.RLIM_INFINITY:
        return allowed
    if soft < allowed:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        except (OSError, ValueError):
            return soft
    return max(soft, allowed)


def make_directory(path: Path, disk: Disk, mode: int) -> None:
    """Make a directory where it is not there, and wait until its name is on the disk; raises StorageError.

    So it is with the names of those above it that are made too.
    """
    made = [one for one in (path, *path.parents) if not os.path.lexists(one)]
    if made:
        disk.make_directory(path, mode)
    for one in made:
        disk.sync(one.parent)


def listed_path(path: Path, names: Collection[str]) -> Path:
    """Return the path of a file as its directory, of these names, spells it.

    A file system that knows no upper and lower case, or has short names, finds a file by other names than it lists.
    Raises StorageError.
    """
    with Failing("read", path):
        if path.name in names or not os.path.exists(path):  # noqa: PTH110 - Path.exists raises for a name that is too long
            return path
        same = [name for name in names if path.samefile(path.with_name(name))]
    # The others are links to the same file.
    return path.with_name(min(same, key=lambda name: name.casefold() != path.name.casefold(), default=path.name))


def file_names(directory: Path) -> list[str]:
    """Return the names of the files in a directory, and of links to files; raises StorageError."""
    with Failing("read", directory), os.scandir(directory) as entries:
        return [entry.name for entry in entries if entry.is_file()]


_READ = 64 << 10


def read_bounded(path: Path, most: int) -> bytes:
    """Read a small file; raises OSError, and ValueError for one of more than `most` bytes.

    No memory is taken ahead of what is there.
    """
    data = bytearray()
    with path.open("rb") as file:
        while piece := file.read(_READ):
            data += piece
            if len(data) > most:
                raise ValueError(f"it has more than {most:,} bytes")
    return bytes(data)


def foreign_right(path: Path) -> str:
    """Say which right others have to change a file: one of its own, or of its directory; "" where they have none.

    The user of this process and root are no others. Raises StorageError.
    """
    with Failing("look at", path):
        real = path.resolve(strict=True)
        places = dict.fromkeys((real, real.parent, path.absolute().parent))
        return next(filter(None, map(_foreign_right, places)), "")


def _foreign_right(place: Path) -> str:
    status = place.stat()
    if os.statvfs(place).f_flag & os.ST_RDONLY:
        return ""
    if status.st_uid not in (0, os.geteuid()):
        return f"{place} belongs to user {status.st_uid}"
    # In a directory with the sticky bit, others remove no file but their own.
    is_sticky = stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX
    if is_sticky or not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        return ""
    return f"{place} may be written by {'all' if status.st_mode & stat.S_IWOTH else 'its group'}"
