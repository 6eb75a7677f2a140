"""Blobs of an archive without index: read in one pass, a few of them on the disk at a time."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Self

from hangar_async.disk import Disk
from hangar_async.engine.limits.queue import blob_rank
from hangar_async.engine.push.blob_source import SpooledBlobs
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.image import ImagePusher
from hangar_async.errors import ArchiveError, HangarError
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import HeldImage
from hangar_async.layout.protocols import Layout, LayoutFile
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.threads import Interrupt, in_thread

#: So many bytes lie in the spool at once, or one blob where that is larger.
BOUND = 1 << 30
_Places = dict[Digest, tuple[Descriptor, list[tuple[int, Reference]]]]


class Spool(SpooledBlobs):
    """Puts the blobs of an archive on the disk in its order, and removes each when all repositories have it."""

    def __init__(self, layout: Layout, spool: Path, disk: Disk, jobs: int) -> None:
        super().__init__(spool, disk)
        self._layout = layout
        self._jobs = jobs
        self._used = 0
        self._space = asyncio.Condition()

    @classmethod
    @asynccontextmanager
    async def opened(cls, layout: Layout, directory: Path, jobs: int) -> AsyncIterator[Self]:
        """Make a spool below a directory, and remove it at the end of the block; raises StorageError."""
        disk, spool = Disk(), directory / f".load.{os.getpid()}.tmp"
        await in_thread(disk.remove, spool)
        try:
            await in_thread(disk.make_directory, spool, 0o700)
            yield cls(layout, spool, disk, jobs)
        finally:
            await in_thread(disk.remove, spool)

    async def feed(self, named: Sequence[tuple[HeldImage, Reference]], push: ImagePusher, pushing: BlobPusher) -> None:
        """Bring all blobs that images need into their repositories, in one pass over the archive.

        What of it fails is not raised: the images meet it again. Raises StorageError.
        """
        places = await self._missing(named, push, pushing)
        if not places:
            return
        interrupt = Interrupt()
        files = self._layout.files([blob_name(digest) for digest in places])
        async with asyncio.TaskGroup() as group:
            waiting = dict(places)
            while (digest := await self._next(files, waiting, interrupt)) is not None:
                group.create_task(self._deliver(*waiting.pop(digest), pushing))

    async def _missing(
        self, named: Sequence[tuple[HeldImage, Reference]], push: ImagePusher, pushing: BlobPusher
    ) -> _Places:
        """Find out which blobs are missing in which repositories."""
        places: _Places = {}
        abreast = asyncio.Semaphore(2 * self._jobs)

        async def look(number: int, image: HeldImage, where: Reference) -> None:
            async with abreast:
                try:
                    if image.problems or await push.is_there(image, where, number):
                        return
                    for blob in push.blobs_of(image).values():
                        if not await pushing.has_blob(where, blob, blob_rank(number, blob.size)):
                            places.setdefault(blob.digest, (blob, []))[1].append((number, where))
                except HangarError:
                    return  # the image will meet it again

        async with asyncio.TaskGroup() as group:
            for number, (image, where) in enumerate(named):
                group.create_task(look(number, image, where))
        return places

    async def _next(
        self, files: Iterator[LayoutFile], waiting: Mapping[Digest, object], interrupt: Interrupt
    ) -> Digest | None:
        """Put the next file into the spool when there is room for it; None at the end."""
        try:
            file = await interrupt.in_thread(next, files, None)
            if file is None or file.digest is None:
                return None
            async with self._space:
                size = file.size
                await self._space.wait_for(lambda: self._used == 0 or self._used + size <= BOUND)
                self._used += size
            await interrupt.in_thread(self.take_in, file, file.digest, interrupt)
            return file.digest
        except ArchiveError as error:
            # The archive cannot be read on: what is behind it is lost.
            for digest in waiting:
                self.miss(digest, error)
            return None

    async def _deliver(self, blob: Descriptor, wanted: Sequence[tuple[int, Reference]], pushing: BlobPusher) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number, where in wanted:
                    group.create_task(self._bring(where, blob, number, pushing))
        finally:
            await self.forget(blob.digest)
            async with self._space:
                self._used -= blob.size
                self._space.notify_all()

    async def _bring(self, where: Reference, blob: Descriptor, number: int, pushing: BlobPusher) -> None:
        try:
            await pushing.blob(where, blob, blob_rank(number, blob.size))
        except HangarError as error:
            # It is gone from the spool when the image asks for it again.
            self.miss(blob.digest, error)
