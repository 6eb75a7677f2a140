"""The content store: blobs on disk, each under its digest."""

import asyncio
import os
import re
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from hangar_async.disk import Disk
from hangar_async.errors import ContentError, StorageError, UsageError
from hangar_async.layout.files import (
    BLOBS,
    MARKER_NAME,
    SHARE,
    blob_name,
    cache_pieces,
    folder_files,
)
from hangar_async.oci import MAX_DOCUMENT, PIECE, Descriptor, Digest, Image, ImageConfig, Verifier
from hangar_async.packed import PackedNames
from hangar_async.store.directory import LOCK_NAME, PARTIALS, check_own, restore_aside
from hangar_async.store.ingest import Ingest
from hangar_async.threads import in_thread

_PARTIAL = re.compile("(?:sha256-[0-9a-f]{64}|sha512-[0-9a-f]{128})\\.[0-9]{1,20}")


class ContentStore:
    """Blobs below one directory, shared by all images; a blob has the digest in its name.

    Blobs of an earlier run are hashed before they are trusted. Made by `open_store`.
    """

    def __init__(
        self,
        root: Path,
        disk: Disk,
        earlier: Iterable[str],
        partials: Mapping[str, int],
        unlock: Callable[[], None] = lambda: None,
        *,
        write_back: bool = False,
    ) -> None:
        self.root = root
        self.disk = disk
        self._write_back = write_back
        #: Frees the lock before the end of the block: nothing may be written afterwards. May be called again.
        self.unlock = unlock
        self._partial_files = root / PARTIALS
        # The partial files of ingests: names and sizes.
        self._partials = dict(partials)
        # Names (relative to the root) of blobs of earlier runs: not trusted until hashed.
        self._earlier = set(earlier)
        # The blobs that are here and whole: the digest of each, and the digest with the size.
        self._trusted = PackedNames()
        # One check at a time: a second one could remove the new blob in place of a damaged one.
        self._checks: dict[Digest, asyncio.Lock] = {}
        # Hashing needs processors, not permits of the network.
        self._hashing = asyncio.Semaphore(os.cpu_count() or 2)

    @property
    def has_earlier(self) -> bool:
        """True when an earlier run has left blobs."""
        return bool(self._earlier)

    def path(self, digest: Digest) -> Path:
        """Return the path of a blob, which need not exist."""
        return self.root / blob_name(digest)

    async def contains(self, digest: Digest, size: int | None = None) -> bool:
        """Tell whether the blob is here, whole and of this size; a damaged one is removed. Raises StorageError."""
        if digest.hex not in self._trusted and blob_name(digest) in self._earlier:
            async with self._checks.setdefault(digest, asyncio.Lock()):
                await self._check(digest)
        return digest.hex in self._trusted and (size is None or _sized(digest, size) in self._trusted)

    async def _check(self, digest: Digest) -> None:
        """Trust a blob of an earlier run that is whole, and remove any other; does nothing a second time."""
        path, name = self.path(digest), blob_name(digest)
        if digest.hex in self._trusted or name not in self._earlier:
            return
        async with self._hashing:
            size = await in_thread(_size, path)
            if size is not None and await _is_whole(path, digest):
                self._trust(digest, size)
            else:
                await in_thread(self.disk.remove, path)
                self._earlier.discard(name)

    def _trust(self, digest: Digest, size: int) -> None:
        self._trusted.add(digest.hex)
        self._trusted.add(_sized(digest, size))

    def missing(self, content: Descriptor) -> int:
        """Return the number of bytes of a blob that are not here, if the bytes of earlier runs are good."""
        if content.digest.hex in self._trusted or blob_name(content.digest) in self._earlier:
            return 0
        return content.size - self._partials.get(_partial_name(content.digest, content.size), 0)

    @asynccontextmanager
    async def ingest(self, digest: Digest, size: int) -> AsyncIterator[Ingest]:
        """Open the ingest of a blob of `size` bytes, for its pieces and the commit.

        It begins with the bytes of an earlier ingest. One at a time for a digest and size.
        """
        name = _partial_name(digest, size)
        partial, target = self._partial_files / name, self.path(digest)
        ingest = Ingest(self.disk, partial, target, digest, size, write_back=self._write_back)
        try:
            if name in self._partials:
                async with self._hashing:
                    await ingest.resume()
            yield ingest
        finally:
            await ingest.close()
            self._partials.pop(name, None)
            if ingest.committed:
                self._trust(digest, size)
            elif ingest.offset:
                self._partials[name] = ingest.offset

    async def put(self, data: bytes, digest: Digest) -> None:
        """Store a small document whose digest was computed from these bytes."""
        if digest.hex not in self._trusted:
            await in_thread(_write_document, self.disk, self.root, blob_name(digest), data)
            self._trust(digest, len(data))

    async def forget_partials(self) -> None:
        """Remove the partial files of ingests; raises StorageError."""
        self._partials.clear()
        await in_thread(self.disk.remove, self.root / PARTIALS)
        await in_thread(self.disk.make_directory, self.root / PARTIALS)

    async def read(self, digest: Digest, limit: int) -> bytes:
        """Return a small blob for which `contains` is True.

        Raises ContentError when it exceeds `limit` bytes, StorageError when it cannot be read.
        """
        data = await in_thread(_read, self.path(digest), limit + 1)
        if len(data) > limit:
            raise ContentError(f"blob {digest} is larger than {limit} bytes", digest=str(digest))
        return data


@asynccontextmanager
async def open_store(root: Path, disk: Disk | None = None, *, write_back: bool = False) -> AsyncIterator[ContentStore]:
    """Open the store below `root`, making it (mode 0700) where it is not there, and hold its lock.

    With `write_back`, for a store that is synced in the end, the disk begins to write while blobs still come.
    Raises UsageError when another run holds it, StorageError when it cannot be written.
    """
    disk = disk or Disk()
    with ExitStack() as stack:
        # The lock is on the stack before the thread ends: a cancellation here must free it too.
        earlier, partials = await in_thread(_prepare, root, disk, stack)
        yield ContentStore(root, disk, earlier, partials, stack.close, write_back=write_back)


def _prepare(root: Path, disk: Disk, stack: ExitStack) -> tuple[frozenset[str], Mapping[str, int]]:
    check_own(root)
    disk.make_directory(root, 0o700)
    path = root / LOCK_NAME
    lock = disk.lock(path)
    if lock is None:
        holder = path.read_text(errors="replace").strip() or "another process"
        raise UsageError(f"the cache {root} is in use by {holder}: wait for it, or work in another directory")
    stack.callback(disk.release, lock)
    disk.truncate(lock, path)
    disk.write(lock, f"process {os.getpid()} on {socket.gethostname()}\n".encode(), path)
    restore_aside(Path(os.path.realpath(root)), disk)
    disk.make_directory(root / PARTIALS)
    partials = {}
    for path in (root / PARTIALS).iterdir():
        if _PARTIAL.fullmatch(path.name):
            partials[path.name] = path.lstat().st_size
        else:
            disk.remove(path)
    disk.make_directory(root / SHARE / "sha256")
    return _names(root), partials


def _sized(digest: Digest, size: int) -> str:
    return f"{digest.hex}.{size}"


def _partial_name(digest: Digest, size: int) -> str:
    return f"{digest.algorithm}-{digest.hex}.{size}"


def _names(root: Path) -> frozenset[str]:
    """List the blobs below `root`, by their names relative to it."""
    try:
        return frozenset(
            f"{SHARE}/{algorithm.name}/{entry.name}"
            for algorithm in os.scandir(root / SHARE)
            if algorithm.is_dir(follow_symlinks=False)
            for entry in os.scandir(algorithm.path)
        )
    except OSError as error:
        raise StorageError.of(error, root / SHARE, "read") from error


def _size(path: Path) -> int | None:
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StorageError.of(error, path, "look at") from error


async def _is_whole(path: Path, digest: Digest) -> bool:
    """Tell whether a file has a digest; False for one that cannot be read.

    Each piece is a call of a thread, so that a cancellation does not wait for a large file.
    """
    verifier, buffer = Verifier(digest, None), memoryview(bytearray(PIECE))

    def hash_piece(file: BinaryIO) -> int:
        count = file.readinto(buffer)  # type: ignore[attr-defined]
        verifier.update(buffer[:count])
        return int(count)

    try:
        with ExitStack() as stack:
            file = await in_thread(lambda: stack.enter_context(_open(path)))
            while await in_thread(hash_piece, file):
                pass
    except OSError:
        return False
    return verifier.matches


def _open(path: Path) -> BinaryIO:
    return os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC), "rb", buffering=0)


def _read(path: Path, limit: int) -> bytes:
    try:
        with _open(path) as file:
            return file.read(limit)
    except OSError as error:
        raise StorageError.of(error, path, "read") from error


async def created_of(store: ContentStore, image: Image) -> list[str]:
    """Return when the configs of an image say that they were made, "" for each that cannot be read."""
    return await in_thread(_created, store, image)


async def write_image(store: ContentStore, image: Image) -> list[str]:
    """Write the folders of an image whose blobs are in the store, and return as `created_of`; raises StorageError."""
    return await in_thread(_write_image, store, image)


async def write_cache(store: ContentStore, images: Sequence[Image], saved: datetime, *, sync: bool = False) -> bool:
    """Write the index files that name these images and no others, the list of Hangar's last.

    With `sync` all are on the disk in the end, and each before it replaces an earlier one. Returns False when the file
    system has no links, and `blobs` beside `index.json` is missing.
    """
    return await in_thread(_write_cache, store.disk, store.root, cache_pieces(images, saved), sync)


def _write_image(store: ContentStore, image: Image) -> list[str]:
    for platform in image.platforms:
        store.disk.make_directory(store.root / platform.folder / BLOBS)
        for name, data in folder_files(platform).items():
            _write_document(store.disk, store.root, name, data)
    return _created(store, image)


def _created(store: ContentStore, image: Image) -> list[str]:
    created = []
    for config in image.configs:
        raw = b"" if config.size > MAX_DOCUMENT else _read(store.path(config.digest), MAX_DOCUMENT + 1)
        try:
            created.append(ImageConfig.parse(raw, config.digest).created)
        except ContentError:
            created.append("")
    return created


def _write_cache(disk: Disk, root: Path, files: Mapping[str, Iterable[bytes]], sync: bool) -> bool:
    linked = disk.link(root / BLOBS, SHARE)
    for name, data in files.items():
        _write_document(disk, root, name, data, sync=sync)
        if sync and name != MARKER_NAME:
            # The list is never on the disk before the index that names more.
            disk.sync(root)
    return linked


def _write_document(disk: Disk, root: Path, name: str, data: bytes | Iterable[bytes], *, sync: bool = False) -> None:
    """Write a small file of the cache whole, so that a reader sees the old file or the new one."""
    # Two threads may write one document at the same time, when two names are of the same image.
    temporary = root / PARTIALS / f"document.{threading.get_ident()}"
    try:
        disk.write_new(temporary, data, sync=sync)
        disk.rename(temporary, root / name)
    except BaseException:
        disk.remove(temporary)
        raise
