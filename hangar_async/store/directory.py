"""The directory of a cache: the names that are its own, and files of other runs that are moved out beside it."""

import os
import re
from pathlib import Path

from hangar_async.disk import Disk, Failing
from hangar_async.errors import StorageError, UsageError
from hangar_async.layout.files import BLOBS, INDEX_NAME, LIST_NAME, MARKER_NAME, SHARE

LOCK_NAME = ".lock"
PARTIALS = ".partial"
#: The names in a cache of which a crash may have lost some, and in a file system that is new.
_OWN = re.compile(rf"\.lock|\.partial|{SHARE}|{INDEX_NAME}|{MARKER_NAME}|lost\+found|[0-9a-f]{{64}}|\..+\.tmp")


def check_own(root: Path) -> None:
    """Raise UsageError for a directory that another program has filled: a run would remove its files."""
    if os.path.lexists(root) and not _is_own(root):
        raise UsageError(f"{root} is a layout of another program, or no image cache: name an empty or a new directory")


def _is_own(root: Path) -> bool:
    with Failing("read", root):
        names = {path.name for path in root.iterdir() if not _is_own_link(path)}
    return LIST_NAME in names or {LOCK_NAME, SHARE} <= names or all(map(_OWN.fullmatch, names))


def _is_own_link(path: Path) -> bool:
    """Tell the link that other programs find the blobs by; one that leads elsewhere is theirs."""
    return path.name == BLOBS and path.is_symlink() and str(path.readlink()) == SHARE


def aside_of(root: Path) -> Path:
    """Return the path beside a cache to which the files of other runs go while it becomes an output."""
    return root.with_name(f".{root.name}.aside")


def check_aside(root: Path) -> None:
    """Raise UsageError where the path for files of other runs is taken by something that is no part of a cache."""
    aside = aside_of(root)
    if os.path.lexists(aside) and not _is_aside(aside):
        raise UsageError(f"{aside} is no part of the cache {root}: move it away")


def _is_aside(aside: Path) -> bool:
    return aside.is_dir() and not aside.is_symlink() and _is_own(aside)


def make_aside(root: Path, disk: Disk) -> Path:
    """Make the directory for files of other runs, a cache by itself; the caller has locked the cache."""
    check_aside(root)
    aside = aside_of(root)
    disk.make_directory(aside, 0o700)
    # A cache is known by these two, whatever else is moved there.
    if not os.path.lexists(aside / LOCK_NAME):
        disk.close(disk.create(aside / LOCK_NAME), aside / LOCK_NAME)
    disk.make_directory(aside / SHARE)
    return aside


def drop_aside(root: Path, disk: Disk) -> None:
    """Remove what was moved out, where none of it is a blob or a part of one; the caller has locked the cache."""
    aside = aside_of(root)
    if _is_aside(aside) and not any(name.startswith((f"{SHARE}/", f"{PARTIALS}/")) for name in _files_below(aside)):
        disk.remove(aside)


def restore_aside(root: Path, disk: Disk) -> None:
    """Put the files that a run moved out of a cache back; the caller has locked the cache. Raises StorageError.

    Files that are in the cache stay as they are, and so does a directory that is no part of a cache.
    """
    aside = aside_of(root)
    if not _is_aside(aside):
        return
    for name in _files_below(aside):
        if not os.path.lexists(root / name):
            disk.make_directory((root / name).parent)
            disk.rename(aside / name, root / name)
    disk.remove(aside)


def renew_cache(root: Path, disk: Disk) -> None:
    """Make a cache, which has become an output, of the files that were moved out of it; raises StorageError.

    No lock is needed: one rename takes them all, and the system refuses it where another run has made the cache. The
    next opening of the cache takes them then.
    """
    aside = aside_of(root)
    if _is_aside(aside):
        try:
            disk.rename(aside, root)
        except StorageError:
            if os.path.lexists(aside) and not os.path.lexists(root):
                raise


def _files_below(root: Path) -> list[str]:
    def fail(error: OSError) -> None:
        raise error

    with Failing("read", root):
        places = list(os.walk(root, onerror=fail))
    return sorted(str(Path(place, name).relative_to(root)) for place, _, names in places for name in names)
