"""The blobs of an archive without index: read in one pass, a few of them on the disk at a time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

from hangar_async.buffers import PieceBuffers
from hangar_async.disk import Disk
from hangar_async.engine.limits.queue import blob_rank
from hangar_async.engine.outputs import temporary_directory
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.image import ImagePusher
from hangar_async.engine.push.run import Named
from hangar_async.engine.push.sources import ADVICE, Pieces, read_in_thread
from hangar_async.errors import ArchiveError, ContentError, DigestMismatch, HangarError, StorageError
from hangar_async.layout.directory import FileReader
from hangar_async.layout.files import Layout, LayoutFile, blob_name
from hangar_async.oci import Descriptor, Digest, Image, Reference, verified
from hangar_async.tasks import each
from hangar_async.threads import Interrupt, in_thread

#: The bytes in the spool at the same time, or one blob where that is larger.
BOUND = 1 << 30
#: The blobs in the spool at the same time; each has a task.
MOST_BLOBS = 400
#: The blobs that are missing at the registry, with the names and places of the images that need them.
_Missing = dict[Digest, tuple[Descriptor, list[tuple[int, Reference]]]]


class Spool:
    """Puts the blobs of an archive on the disk in its order, and removes each when all repositories have it."""

    advice = ADVICE

    def __init__(self, layout: Layout, directory: Path, disk: Disk, jobs: int) -> None:
        self._layout = layout
        self._directory = directory
        self._disk = disk
        self._jobs = jobs
        self._buffers = PieceBuffers()
        self._used = self._count = 0
        self._space = asyncio.Condition()
        self._pass = asyncio.Lock()
        self._errors: dict[Digest, HangarError] = {}
        #: The blobs that are in it, whole.
        self._held: set[Digest] = set()

    @classmethod
    @asynccontextmanager
    async def opened(cls, layout: Layout, directory: Path, jobs: int, disk: Disk) -> AsyncIterator[Self]:
        """Make a spool below a directory, and remove it at the end of the block; raises StorageError."""
        async with temporary_directory(directory, "load", disk) as spool:
            yield cls(layout, spool, disk, jobs)

    def read(self, blob: Descriptor, start: int) -> Pieces:
        """Read a blob from byte `start` on; each piece is valid until the next one is asked for."""
        if error := self._errors.get(blob.digest):
            raise error
        return read_in_thread(partial(self._open, blob.digest, start), self._buffers)

    async def damage(self, blob: Descriptor) -> str:
        """Return "": it was hashed on its way into the spool."""
        return ""

    def host(self, blob: Descriptor) -> str:
        """Return "": the directory is here."""
        return ""

    def give_up(self, blob: Descriptor, error: HangarError, target: str) -> bool:
        """Return False: there is no other archive."""
        return False

    async def feed(self, numbered: Sequence[tuple[int, Named]], images: ImagePusher, blobs: BlobPusher) -> None:
        """Push all blobs that the images need and their repositories lack, in one pass over the archive.

        A failure is not raised: its image fails by it. Raises StorageError.
        """
        async with self._pass:
            missing = await self._find_missing(numbered, images, blobs)
            if not missing:
                return
            interrupt = Interrupt()
            files = self._layout.files([blob_name(digest) for digest in missing])
            async with asyncio.TaskGroup() as group:
                waiting = dict(missing)
                while (digest := await self._read_next(files, waiting, interrupt)) is not None:
                    group.create_task(self._push(*waiting.pop(digest), images, blobs))

    async def _find_missing(
        self, numbered: Sequence[tuple[int, Named]], images: ImagePusher, blobs: BlobPusher
    ) -> _Missing:
        """Find the blobs that are missing at the registry, with the repositories that lack them."""
        missing: _Missing = {}
        images_at_once = asyncio.Semaphore(2 * self._jobs)

        async def look(number: int, image: Image, target: Reference) -> None:
            async with images_at_once:
                try:
                    if image.problems:
                        return
                    # That an image is there says nothing about its referrers.
                    if image.attachment is None and await images.is_present(image, target, number):
                        return
                    for blob in image.blobs:
                        if not await blobs.has(target, blob, blob_rank(number, blob.size)):
                            missing.setdefault(blob.digest, (blob, []))[1].append((number, target))
                except HangarError as error:
                    images.fail(number, error)

        async with asyncio.TaskGroup() as group:
            for number, (image, target) in numbered:
                group.create_task(look(number, image, target))
        return missing

    async def _read_next(
        self, files: Iterator[LayoutFile], waiting: Mapping[Digest, object], interrupt: Interrupt
    ) -> Digest | None:
        """Put the next file into the spool when there is space for it; None at the end."""
        try:
            file = await interrupt.in_thread(next, files, None)
            if file is None or file.digest is None:
                return None
            async with self._space:
                size = file.size
                await self._space.wait_for(lambda: self._has_space(size))
                self._used, self._count = self._used + size, self._count + 1
            await interrupt.in_thread(self._take_in, file, file.digest, interrupt)
            return file.digest
        except ArchiveError as error:
            # The rest of the archive cannot be read.
            self._errors |= dict.fromkeys(waiting, error)
            return None

    def _has_space(self, size: int) -> bool:
        return self._count == 0 or (self._count < MOST_BLOBS and self._used + size <= BOUND)

    def _open(self, digest: Digest, start: int) -> FileReader:
        try:
            if digest in self._held:
                return FileReader(self._path(digest), start)
        except StorageError:
            if digest in self._held:
                raise
        message = f"the registry said that it had {digest} and lacks it, and the archive was read past it"
        raise ContentError(message, digest=str(digest), advice="load this image again")

    def _take_in(self, file: LayoutFile, digest: Digest, check_interrupted: Callable[[], None]) -> None:
        """Write a file of the archive into the spool; its damage becomes the error of those that read it.

        Raises ArchiveError where the archive cannot be read on, StorageError.
        """
        if digest in self._held:
            return  # it could not be removed
        path = self._path(digest)
        descriptor = self._disk.create(path)
        try:
            for piece in verified(file.pieces, digest, None):
                check_interrupted()
                self._disk.write(descriptor, piece, path)
            self._held.add(digest)
        except DigestMismatch:
            self._errors[digest] = ContentError(f"{digest} is damaged here", digest=str(digest), advice=ADVICE)
        finally:
            self._disk.close(descriptor, path)

    async def _push(
        self, blob: Descriptor, targets: Sequence[tuple[int, Reference]], images: ImagePusher, blobs: BlobPusher
    ) -> None:
        async def push(numbered: tuple[int, Reference]) -> None:
            number, target = numbered
            try:
                await blobs.push(target, blob, blob_rank(number, blob.size))
            except HangarError as error:
                # The blob is gone from the spool when the image would ask for it again.
                images.fail(number, error)

        try:
            await each(targets, push, self._jobs)
        finally:
            self._held.discard(blob.digest)
            try:
                await in_thread(self._disk.remove, self._path(blob.digest))
            except StorageError:
                self._held.add(blob.digest)  # the spool as a whole is removed at the end
            async with self._space:
                self._used, self._count = self._used - blob.size, self._count - 1
                self._space.notify_all()

    def _path(self, digest: Digest) -> Path:
        return self._directory / f"{digest.algorithm}-{digest.hex}"
