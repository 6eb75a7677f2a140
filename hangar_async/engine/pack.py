"""The output of a run: an archive, the cache published as a directory, or the cache with its earlier images.

The writer of archives, with its compressors, and the readers are loaded where an output needs them: a directory needs
none.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Protocol

from hangar_async.archive.names import incomplete_path
from hangar_async.config.output import OutputSettings
from hangar_async.engine.events import ArchiveProgress, Committing, Notice, Observer
from hangar_async.engine.reports import Output
from hangar_async.errors import ContentError, HangarError, StorageError
from hangar_async.layout import files as layout_files
from hangar_async.layout.limits import LayoutTotals
from hangar_async.oci import Image, media_types
from hangar_async.packed import PackedNames
from hangar_async.store.content import ContentStore
from hangar_async.store.publish import PublishDirectory
from hangar_async.threads import Interrupt, in_thread

if TYPE_CHECKING:
    from hangar_async.archive.write.writer import ArchiveWriter


class Packer(Protocol):
    """Takes the images of a run in list order, then makes the output; nothing is under its name before."""

    #: The number of bytes of an archive that are written so far.
    written: int

    async def add(self, image: Image) -> None:
        """Append an image that is complete in the store; raises StorageError."""
        ...

    async def finish(self, images: Sequence[Image], saved: datetime, failed: Collection[str]) -> Output:
        """Make the output of these images; `failed` are the names of those that it should hold too.

        Raises StorageError.
        """
        ...


@asynccontextmanager
async def open_packer(settings: OutputSettings, store: ContentStore, observe: Observer) -> AsyncIterator[Packer]:
    """Open the packer for an output; one that is not finished leaves no files."""
    if settings.format == "dir":
        yield DirectoryPacker(settings, store, observe)
        return
    loop = asyncio.get_running_loop()
    interrupt = Interrupt()

    def progress(written: int, part: int) -> None:
        interrupt()
        packer.written = written
        loop.call_soon_threadsafe(observe, ArchiveProgress(written, part))

    def notice(text: str) -> None:
        loop.call_soon_threadsafe(observe, Notice(text))

    async with AsyncExitStack() as stack:

        def make() -> "ArchiveWriter":
            from hangar_async.archive.write.writer import ArchiveWriter

            writer = ArchiveWriter(
                # Temporary names of a stream, which has no place of its own, are in the cache.
                store.root / "output" if settings.is_stream else settings.target,
                settings.format,
                part_size=settings.part_size,
                mtime=settings.epoch or 0,
                sync=settings.sync,
                progress=progress,
                notice=notice,
                disk=store.disk,
                level=settings.level,
                check=interrupt,
                checksum=settings.checksum,
                stream=sys.stdout.fileno() if settings.is_stream else None,
            )
            # Before the thread ends: a cancellation now must discard it too.
            stack.push_async_callback(in_thread, writer.discard)
            return writer

        packer = ArchivePacker(await interrupt.in_thread(make), store, interrupt, observe, settings)
        yield packer


class ArchivePacker:
    """Appends to a tar: for each image its new blobs, then its folders; the cache's own files last."""

    def __init__(
        self,
        writer: "ArchiveWriter",
        store: ContentStore,
        interrupt: Interrupt,
        observe: Observer,
        settings: OutputSettings,
    ) -> None:
        self._writer = writer
        self._store = store
        self._interrupt = interrupt
        self._observe = observe
        self._settings = settings
        self._names = PackedNames()
        self._totals = LayoutTotals()
        self.written = 0

    async def add(self, image: Image) -> None:
        """Append an image that is complete in the store; raises StorageError."""
        await self._interrupt.in_thread(self._add, image)

    async def finish(self, images: Sequence[Image], saved: datetime, failed: Collection[str]) -> Output:
        """Append the index files and put the archive in place; raises StorageError."""
        await self._interrupt.in_thread(self._close, layout_files.cache_pieces(images, saved))
        target = self._settings.target
        kept = await self._interrupt.in_thread(self._holds_more, images, failed)
        self._observe(Committing(str(target)))
        # A commit is not interrupted: it would leave some names changed and others not.
        written = await in_thread(self._writer.commit, incomplete_path(target) if kept else target)
        return Output(
            written.files, written.size, self._settings.format, written.compressor, kept=target if kept else None
        )

    def _holds_more(self, images: Sequence[Image], failed: Collection[str]) -> bool:
        """Tell whether the earlier archive holds more of all these images than this one."""
        if not failed or self._settings.replace:
            return False
        names = {image.reference.cache_name for image in images if image.attachment is None}
        wanted = names | set(failed)
        return len(wanted & held_names(self._settings.target, self._interrupt)) > len(names)

    def _add(self, image: Image) -> None:
        for content in image.contents:
            name = layout_files.blob_name(content.digest)
            if not self._is_new(name):
                continue
            self._writer.add_file(
                f"{layout_files.CACHE_NAME}/{name}",
                self._store.path(content.digest),
                content.size,
                digest=content.digest,
                compressed=media_types.is_compressed(content.media_type),
            )
        for platform in image.platforms:
            for name, data in layout_files.folder_files(platform).items():
                if self._is_new(name):
                    self._writer.add_bytes(f"{layout_files.CACHE_NAME}/{name}", data)
            self._directory(f"{platform.folder}/{layout_files.BLOBS}")
        count(self._totals, image, self._writer.size, self._settings.target)

    def _close(self, files: dict[str, Iterator[bytes]]) -> None:
        self._writer.add_link(f"{layout_files.CACHE_NAME}/{layout_files.BLOBS}", layout_files.SHARE)
        for name, pieces in files.items():
            self._writer.add_pieces(f"{layout_files.CACHE_NAME}/{name}", pieces)
        self._writer.lock()

    def _is_new(self, name: str) -> bool:
        """Note a name and its directories; return whether the name is new."""
        if not self._names.add(name):
            return False
        self._directory(str(PurePosixPath(name).parent))
        return True

    def _directory(self, name: str) -> None:
        if not self._names.add(name):
            return
        if name == ".":
            self._writer.add_directory(layout_files.CACHE_NAME)
        else:
            self._directory(str(PurePosixPath(name).parent))
            self._writer.add_directory(f"{layout_files.CACHE_NAME}/{name}")


def count(totals: LayoutTotals, image: Image, stored: int, target: Path) -> None:
    """Count an image of an output that has so many bytes with it; raises StorageError where no reader would take it."""
    try:
        totals.add(image, stored)
    except ContentError as error:
        message = f"{target} would hold more than can be read, and {image.name} is one too many: {error}"
        raise StorageError(message, path=str(target), advice=error.advice) from error


def held_names(path: Path, check_interrupted: Callable[[], None]) -> set[str]:
    """Return the names of the whole images in an archive; none where it cannot be read. Synchronous, for a thread."""
    from hangar_async.engine.open_layout import find_archive, layout_at
    from hangar_async.layout.images import read_images

    try:
        images = read_images(layout_at(path, find_archive(path, check_interrupted), check_interrupted)).images
    except HangarError:
        return set()
    return {image.reference.cache_name for image in images if not image.problems}


class DirectoryPacker:
    """Makes the cache directory itself the output."""

    def __init__(self, settings: OutputSettings, store: ContentStore, observe: Observer) -> None:
        self._settings = settings
        self._store = store
        self._observe = observe
        self._names: set[str] = set()
        self._totals = LayoutTotals()
        self._size = 0
        self.written = 0

    async def add(self, image: Image) -> None:
        """Note the files of the output; raises StorageError where no reader would take it."""
        names = {layout_files.blob_name(content.digest): content.size for content in image.contents}
        self._size += sum(size for name, size in names.items() if name not in self._names)
        self._names.update(names)
        count(self._totals, image, self._size, self._settings.target)
        for platform in image.platforms:
            self._names.update(layout_files.folder_files(platform))

    async def finish(self, images: Sequence[Image], saved: datetime, failed: Collection[str]) -> Output:
        """Sync the directory and give it its name; raises StorageError."""
        interrupt = Interrupt()
        names = frozenset(self._names | set(layout_files.cache_pieces(images, saved)))
        notices: list[str] = []
        self._observe(Committing(str(self._settings.target)))
        work = PublishDirectory(
            self._store.root,
            self._settings.target,
            names,
            self._store.disk,
            self._settings.sync,
            interrupt,
            self._store.unlock,
            notices.append,
        )
        size = await interrupt.in_thread(work.run)
        for text in notices:
            self._observe(Notice(text))
        return Output((self._settings.target,), size, self._settings.format)


def saved_time(epoch: int | None, created: Iterable[str]) -> datetime:
    """Return the time for the list of images: the same for the same content."""
    return layout_files.newest(created) if epoch is None else datetime.fromtimestamp(epoch, UTC)
