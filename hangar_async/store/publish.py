"""Hand the cache directory over as the product: `save -c dir`."""

import errno
import hashlib
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch, StorageError
from hangar_async.layout.files import BLOBS, MARKER_NAME, SHARE, LayoutFile

_PIECE = 1 << 20
_SYNCS_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class PublishDirectory:
    """A cache at `root` that becomes the directory `target`; `names` are the files of this run, relative to the root.

    Synchronous, for a thread; `goes_on` is asked between pieces and raises to end the work early.
    """

    root: Path
    target: Path
    names: frozenset[str]
    disk: Disk
    sync: bool = True
    goes_on: Callable[[], None] = lambda: None

    def run(self) -> int:
        """Do it and return the size in bytes; raises StorageError, and DigestMismatch for a copy that went wrong.

        What is not of this run is moved into a new cache first. The target appears under its name when it is whole
        and on the disk; across file systems it is copied, synced and hashed again before the original is removed.
        """
        # The name is fixed, so that what a killed run left there becomes part of the new cache.
        aside = self.root.with_name(f".{self.root.name}.aside")
        keep = set(self.names) | {str(parent) for name in self.names for parent in Path(name).parents}
        keep |= {f"{Path(name).parent}/{BLOBS}" for name in self.names if "/" in name} | {BLOBS}
        self._move_strangers(self.root, keep, aside)
        size = sum(_size(self.root / name) for name in self.names)
        if self.sync:
            sync_files(self.disk, self.root, self.names, self.goes_on)
        self._place()
        if self.sync:
            self.disk.sync(self.target.parent)
        if _holds_blobs(aside):
            self.disk.rename(aside, self.root)
        else:
            self.disk.remove(aside)
        return size

    def _move_strangers(self, directory: Path, keep: set[str], aside: Path) -> None:
        """Move what is not of this run out of the cache, keeping its place below the root."""
        for path in sorted(directory.iterdir()):
            name = path.relative_to(self.root)
            if str(name) not in keep:
                self.disk.make_directory((aside / name).parent, 0o700)
                self.disk.remove(aside / name)
                self.disk.rename(path, aside / name)
            elif path.is_dir() and not path.is_symlink():
                self._move_strangers(path, keep, aside)

    def _place(self) -> None:
        try:
            self._rename()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise StorageError.of(error, self.target, "rename to") from error
            self._copy()

    def _rename(self) -> None:
        self.root.rename(self.target)

    def _copy(self) -> None:
        temporary = self.target.with_name(f".{self.target.name}.{os.getpid()}.tmp")
        self.disk.remove(temporary)
        try:
            for name in sorted(self.names):
                self._copy_file(self.root / name, temporary / name)
                if name.endswith(f"/{MARKER_NAME}"):
                    self.disk.make_directory((temporary / name).with_name(BLOBS))
            self.disk.link(temporary / BLOBS, SHARE)
            if self.sync:
                sync_files(self.disk, temporary, self.names, self.goes_on)
            for name in sorted(self.names):
                self._compare(self.root / name, temporary / name)
            self.disk.rename(temporary, self.target)
        except BaseException:
            self.disk.remove(temporary)
            raise
        self.disk.remove(self.root)

    def _copy_file(self, source: Path, target: Path) -> None:
        self.disk.make_directory(target.parent)
        descriptor = self.disk.create(target)
        try:
            for piece in self._pieces(source):
                self.disk.write(descriptor, piece, target)
        finally:
            self.disk.close(descriptor, target)

    def _compare(self, source: Path, target: Path) -> None:
        original, copy = hashlib.sha256(), hashlib.sha256()
        for path, hasher in ((source, original), (target, copy)):
            for piece in self._pieces(path):
                hasher.update(piece)
        if original.digest() != copy.digest():
            raise DigestMismatch(
                f"the copy {target} differs from {source}",
                advice="check the disk of the destination; the cache is whole",
            )

    def _pieces(self, path: Path) -> Iterator[memoryview]:
        buffer = memoryview(bytearray(_PIECE))
        try:
            with path.open("rb", buffering=0) as file:
                while count := file.readinto(buffer):
                    self.goes_on()
                    yield buffer[:count]
        except OSError as error:
            raise StorageError.of(error, path, "read") from error


def sync_files(disk: Disk, root: Path, names: Collection[str], goes_on: Callable[[], None]) -> None:
    """Wait until files below a root, and the directories that they are in, are on the disk."""

    def sync(name: str | Path) -> None:
        goes_on()
        disk.sync(root / name)

    # Several at once: a file system writes its journal for all who wait at that moment.
    pool = ThreadPoolExecutor(_SYNCS_AT_ONCE, "sync")
    try:
        for paths in (names, {parent for name in names for parent in Path(name).parents}):
            for _ in pool.map(sync, sorted(paths)):
                pass
    finally:
        pool.shutdown(cancel_futures=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise StorageError.of(error, path, "look at") from error


def _holds_blobs(aside: Path) -> bool:
    return any(path.is_file() for path in (aside / SHARE).rglob("*"))


@dataclass(frozen=True, slots=True)
class NewTree:
    """Makes the directory `target` (which is not there, or empty) out of files that are checked as they are written.

    Synchronous, for a thread; `goes_on` is told the number of bytes of each piece, and raises to end the work early.
    """

    target: Path
    disk: Disk
    goes_on: Callable[[int], None]
    sync: bool = True

    def write(
        self,
        files: Iterable[tuple[str, LayoutFile]],
        documents: Mapping[str, bytes],
        directories: Iterable[str] = (),
        links: Mapping[str, str] | None = None,
    ) -> int:
        """Write files under new names, and the rest; return the size in bytes.

        The directories are asked for when all files are written. Raises DigestMismatch for a file that has not its
        digest or size, StorageError; nothing is left then.
        """
        temporary = self.target.with_name(f".{self.target.name}.{os.getpid()}.tmp")
        self.disk.remove(temporary)
        names: set[str] = set()
        try:
            size = 0
            for name, file in files:
                names.add(name)
                size += self._copy(file, temporary / name)
            for name, data in documents.items():
                names.add(name)
                self.disk.make_directory((temporary / name).parent)
                self.disk.write_file(temporary / name, data)
                size += len(data)
            for directory in directories:
                self.disk.make_directory(temporary / directory)
            for name, link in (links or {}).items():
                self.disk.link(temporary / name, link)
            if self.sync:
                sync_files(self.disk, temporary, names, lambda: self.goes_on(0))
            self.disk.rename(temporary, self.target)
            temporary = self.target
            if self.sync:
                self.disk.sync(self.target.parent)
        except BaseException:
            self.disk.remove(temporary)
            raise
        return size

    def _copy(self, file: LayoutFile, path: Path) -> int:
        self.disk.make_directory(path.parent)
        digest = file.digest
        hasher = digest.hasher() if digest else None
        got = 0
        descriptor = self.disk.create(path)
        try:
            for piece in file.pieces:
                got += len(piece)
                self.goes_on(len(piece))
                if got > file.size:
                    raise DigestMismatch(f"{file.name} is larger than the {file.size} bytes declared")
                self.disk.write(descriptor, piece, path)
                if hasher is not None:
                    hasher.update(piece)
        finally:
            self.disk.close(descriptor, path)
        if got != file.size:
            raise DigestMismatch(f"{file.name} has {got} bytes instead of {file.size}")
        if hasher is not None and digest is not None and hasher.hexdigest() != digest.hex:
            raise DigestMismatch(f"{file.name} is damaged", digest=str(digest), advice="get the archive anew")
        return got
