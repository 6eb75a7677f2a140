"""Directories as outputs: a cache that becomes the output of `save -c dir`, and new trees of files."""

import errno
import os
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from itertools import zip_longest
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch, StorageError
from hangar_async.layout.files import BLOBS, MARKER_NAME, SHARE, LayoutFile, named_digest
from hangar_async.oci import PIECE, verified
from hangar_async.store.directory import LOCK_NAME, drop_aside, make_aside, renew_cache, restore_aside
from hangar_async.temporary import TemporaryFiles
from hangar_async.threads import Pool

_SYNCS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class PublishDirectory:
    """A cache at `root` that becomes the directory `target`; `names` are the files of this run, relative to the root.

    Synchronous, for a thread; `check_interrupted` is called between pieces, and raises to end the work.
    """

    root: Path
    target: Path
    names: frozenset[str]
    disk: Disk
    sync: bool = True
    check_interrupted: Callable[[], None] = lambda: None
    #: Frees the lock of the cache.
    unlock: Callable[[], None] = lambda: None
    #: Told about what could not be tidied up.
    notice: Callable[[str], None] = lambda _: None

    def run(self) -> int:
        """Publish it, and return the size in bytes; raises StorageError, and DigestMismatch for a damaged copy.

        Files of other runs are moved out first, and become the new cache; after a failure they are put back. The target
        appears under its name when it is whole and on the disk; across file systems it is copied, synced and compared
        before the original is removed. The lock of the cache holds until then.
        """
        copied = True
        try:
            size = self._move_out()
            copied = self._place()
            if self.sync:
                # The original of a copy goes when the name of the copy is on the disk.
                self.disk.sync(self.target.parent)
        except BaseException:
            if copied:
                with suppress(StorageError):  # the next run that opens the cache does it
                    restore_aside(self.root, self.disk)
            else:
                self._tidy(copied)
            raise
        self._tidy(copied)
        return size

    def _move_out(self) -> int:
        """Leave nothing but the files of this run, on the disk, and return their size in bytes."""
        keep = {*self.names, *_with_those_above(_directories(self.names)), LOCK_NAME}
        keep |= {f"{directory}/{BLOBS}" for directory in _directories(self.names) if directory} | {BLOBS}
        self._move_others("", keep)
        drop_aside(self.root, self.disk)
        size = sum(_size(self.root / name) for name in self.names)
        if self.sync:
            sync_files(self.disk, self.root, self.names, self.check_interrupted)
        return size

    def _tidy(self, copied: bool) -> None:
        """Remove the lock, or the original of a copy, and make the new cache; a failure is a notice.

        An open file is never removed: some file systems would keep it under a hidden name.
        """
        try:
            if copied:
                for name in self.disk.names(self.root, directories=True):
                    if name != LOCK_NAME:
                        self.disk.remove(self.root / name)
                restore_aside(self.root, self.disk)
                self.unlock()
            else:
                self.unlock()
                self.disk.remove(self.target / LOCK_NAME)
                renew_cache(self.root, self.disk)
        except StorageError as error:
            self.notice(f"{self.target} is whole, but not all could be tidied up: {error}")

    def _move_others(self, directory: str, keep: set[str]) -> None:
        """Move the files of other runs out of the cache, to the same names beside it."""
        with os.scandir(self.root / directory) as scanned:
            entries = sorted((entry.name, entry.is_dir(follow_symlinks=False)) for entry in scanned)
        for entry, is_directory in entries:
            name = f"{directory}/{entry}" if directory else entry
            if name not in keep:
                aside = make_aside(self.root, self.disk)
                self.disk.make_directory((aside / name).parent)
                self.disk.remove(aside / name)
                self.disk.rename(self.root / name, aside / name)
            elif is_directory:
                self._move_others(name, keep)

    def _place(self) -> bool:
        """Give the cache its new name, or copy it to there; return whether it was copied."""
        try:
            self._rename()
        except StorageError as error:
            if not isinstance(error.__cause__, OSError) or error.__cause__.errno != errno.EXDEV:
                raise
            self._copy()
            return True
        return False

    def _rename(self) -> None:
        self.disk.rename(self.root, self.target)

    def _copy(self) -> None:
        temporary_files = TemporaryFiles(self.target, self.disk)
        temporary = temporary_files.new()
        try:
            for name in sorted(self.names):
                self._copy_file(self.root / name, temporary / name)
                if name.endswith(f"/{MARKER_NAME}"):
                    self.disk.make_directory((temporary / name).with_name(BLOBS))
            self.disk.link(temporary / BLOBS, SHARE)
            if self.sync:
                sync_files(self.disk, temporary, self.names, self.check_interrupted)
            for name in sorted(self.names):
                self._compare(name, temporary / name)
            self.disk.rename(temporary, self.target)
        finally:
            temporary_files.close()

    def _copy_file(self, source: Path, target: Path) -> None:
        self.disk.make_directory(target.parent)
        descriptor = self.disk.create(target)
        try:
            for piece in self._pieces(source):
                self.disk.write(descriptor, piece, target)
        finally:
            self.disk.close(descriptor, target)

    def _compare(self, name: str, target: Path) -> None:
        """Compare the copy of a file, as the disk has it, with the digest in its name, else with the original."""
        digest, copied = named_digest(name), self._pieces(target, from_disk=True)
        try:
            if digest is not None:
                for _ in verified(copied, digest, None):
                    pass
                return
            pairs = zip_longest(self._pieces(self.root / name), copied, fillvalue=b"")
            if all(original == copy for original, copy in pairs):
                return
        except DigestMismatch:
            pass
        raise DigestMismatch(
            f"the copy {target} differs from {self.root / name}",
            advice="check the disk of the destination; the cache is whole",
        )

    def _pieces(self, path: Path, *, from_disk: bool = False) -> Iterator[memoryview]:
        """Read a file, with `from_disk` not out of the memory in which a file that was just written still is."""
        buffer = memoryview(bytearray(PIECE))
        try:
            # Buffered: each piece but the last is full, so that two files can be compared piece by piece.
            with path.open("rb") as file:
                if from_disk and hasattr(os, "posix_fadvise"):
                    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while count := file.readinto(buffer):
                    self.check_interrupted()
                    yield buffer[:count]
        except OSError as error:
            raise StorageError.of(error, path, "read") from error


def sync_files(disk: Disk, root: Path, names: Collection[str], check_interrupted: Callable[[], None]) -> None:
    """Wait until files below a root, and the directories that they are in, are on the disk."""

    def sync(paths: deque[str]) -> None:
        try:
            while (path := _popped(paths)) is not None:
                check_interrupted()
                disk.sync(root / path)
        except BaseException:
            paths.clear()
            raise

    # Several at once: a file system writes its journal for all syncs that wait at that moment.
    pool = Pool("sync", _SYNCS_AT_ONCE)
    try:
        for paths in (names, _with_those_above(_directories(names))):
            waiting = deque(sorted(paths))
            for future in [pool.submit(partial(sync, waiting)) for _ in range(min(_SYNCS_AT_ONCE, len(waiting)))]:
                future.result()
    finally:
        pool.shutdown()


def _directories(names: Iterable[str]) -> set[str]:
    """Name the directories in which files are; the root is an empty name."""
    return {name.rpartition("/")[0] for name in names}


def _with_those_above(directories: Iterable[str]) -> set[str]:
    """Name directories and those above them; the root is `.`."""
    paths = [Path(directory) for directory in directories]
    return {str(directory) for path in paths for directory in (path, *path.parents)}


def _popped(paths: deque[str]) -> str | None:
    try:
        return paths.popleft()
    except IndexError:
        return None


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StorageError.of(error, path, "look at") from error


@dataclass(frozen=True, slots=True)
class NewTree:
    """A new directory `target`, which does not exist or is empty, of files that are checked as they are written.

    Synchronous, for a thread; `report` gets the number of bytes of each piece, and raises to end the work.
    """

    target: Path
    disk: Disk
    report: Callable[[int], None]
    sync: bool = True

    def write(
        self,
        files: Iterable[tuple[str, LayoutFile]],
        documents: Mapping[str, bytes],
        directories: Iterable[str] = (),
        links: Mapping[str, str] | None = None,
    ) -> int:
        """Write files under new names, documents, directories and links; return the size in bytes.

        The directories are iterated over after the files. Raises DigestMismatch for a file whose digest or size is
        another one, StorageError; nothing is left then.
        """
        temporary_files = TemporaryFiles(self.target, self.disk)
        temporary = temporary_files.new()
        names: set[str] = set()
        try:
            size = 0
            for name, file in files:
                names.add(name)
                size += self._copy(file, temporary / name)
            for name, data in documents.items():
                names.add(name)
                self.disk.make_directory((temporary / name).parent)
                self.disk.write_new(temporary / name, data)
                size += len(data)
            for directory in directories:
                self.disk.make_directory(temporary / directory)
            for name, link in (links or {}).items():
                self.disk.link(temporary / name, link)
            if self.sync:
                sync_files(self.disk, temporary, names, lambda: self.report(0))
            self.disk.rename(temporary, self.target)
            temporary = self.target
            if self.sync:
                self.disk.sync(self.target.parent)
        except BaseException:
            self.disk.remove(temporary)
            raise
        finally:
            temporary_files.close()
        return size

    def _copy(self, file: LayoutFile, path: Path) -> int:
        self.disk.make_directory(path.parent)
        descriptor = self.disk.create(path)
        try:
            for piece in verified(file.pieces, file.digest, file.size, file.name, "bring the archive here again"):
                self.report(len(piece))
                self.disk.write(descriptor, piece, path)
        finally:
            self.disk.close(descriptor, path)
        return file.size
