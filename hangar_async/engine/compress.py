"""`compress`: a cache directory into an archive; `decompress`: an archive into a directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator

from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.layout import archive_layout
from hangar_async.config.options import CompressOptions, DecompressOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import Checked, CheckStarted, Event, ImageEnded, Observer, RunEnded, RunStarted, ignore
from hangar_async.engine.open_layout import find_archive
from hangar_async.engine.pack.checks import check_part_size, check_target
from hangar_async.engine.pack.packers import open_packer, saved_time
from hangar_async.engine.pull.image import created_of
from hangar_async.engine.reports import ImageOutcome, Output, Report, Traffic
from hangar_async.errors import ArchiveError, ContentError, HangarError, UsageError
from hangar_async.imagelist import Entry
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import BLOBS, LIST_NAME, SHARE, SavedImage
from hangar_async.layout.images import HeldImage, read_catalog
from hangar_async.layout.protocols import Layout, LayoutFile
from hangar_async.oci.manifest import Descriptor, Index, join_index
from hangar_async.store.content import ContentStore, open_store
from hangar_async.store.publish import NewTree
from hangar_async.threads import Interrupt, in_thread


async def compress(options: CompressOptions, observer: Observer = ignore) -> Report:
    """Make an archive of the images that a cache directory names; each blob is hashed first.

    An image that is damaged or incomplete is an outcome in the report, and not in the archive. Raises UsageError,
    StorageError, and ContentError for a directory that is no cache.
    """
    started = time.monotonic()
    if not await in_thread(options.cache.is_dir):
        raise UsageError(f"there is no cache directory {options.cache} (-f)")
    await in_thread(check_target, options.output.target, directory=False)
    await in_thread(check_part_size, options.output)
    catalog = await in_thread(lambda: read_catalog(DirectoryLayout(options.cache)))
    observer(RunStarted(len(catalog.images), 0))
    outcomes: list[ImageOutcome] = []
    images: list[SavedImage] = []
    created: list[str] = []
    output: Output | None = None
    async with open_store(options.cache) as store, open_packer(options.output, store, observer) as packer:
        for number, held in enumerate(catalog.images, 1):
            entry = Entry(held.reference, number, held.name)
            try:
                saved = await _check(held, store, observer)
            except HangarError as error:
                outcome = ImageOutcome(entry, error=error)
            else:
                outcome = ImageOutcome(entry, saved)
                await packer.add(saved, (*held.contents, saved.root))
                images.append(saved)
                created += [await created_of(store, config) for config in held.configs]
            outcomes.append(outcome)
            observer(ImageEnded(outcome))
        if images:
            output = await packer.finish(images, saved_time(options.output.epoch, created))
    report = Report(tuple(outcomes), (), 0, Traffic(), output, time.monotonic() - started)
    observer(RunEnded(report))
    return report


async def _check(held: HeldImage, store: ContentStore, observe: Observer) -> SavedImage:
    """Hash all that an image needs; raises ContentError for what is missing or damaged."""
    if held.problems:
        raise ContentError(held.problems[0], advice="bring the image into the cache again")
    for content in held.contents:
        if not await store.contains(content.digest, content.size):
            raise ContentError(
                f"blob {content.digest} is damaged, and was removed",
                digest=str(content.digest),
                advice="bring the image into the cache again",
            )
        observe(Checked(content.size))
    return held.saved(held.root or await _make_root(held, store))


async def _make_root(held: HeldImage, store: ContentStore) -> Descriptor:
    """What names an image of a cache that has no index of its own: its one manifest, or an index of them."""
    descriptors = [platform.descriptor for platform in held.platforms]
    if len(descriptors) == 1:
        return descriptors[0]
    index: Index = join_index(descriptors)
    await store.put(index.raw, index.digest)
    return index.descriptor


async def decompress(options: DecompressOptions, observer: Observer = ignore) -> Output:
    """Unpack an archive, its parts or one of them, into a new directory; every blob is checked on the way.

    Only files of the format are taken, under names of our own. Raises UsageError, ArchiveError and ContentError for an
    archive that is broken or hostile, StorageError; nothing is left then.
    """
    await in_thread(check_target, options.destination, directory=True)
    interrupt = Interrupt()
    loop = asyncio.get_running_loop()

    def tell(event: Event) -> None:
        loop.call_soon_threadsafe(observer, event)

    return await interrupt.in_thread(_unpack, options, interrupt, tell)


def _unpack(options: DecompressOptions, interrupt: Interrupt, tell: Callable[[Event], None]) -> Output:
    def goes_on(count: int) -> None:
        interrupt()
        tell(Checked(count))

    archive = find_archive(options.archive)
    if archive is None:
        raise UsageError(f"{options.archive} is a directory: there is nothing to unpack (-f)")
    if options.format not in (None, archive.compression):
        raise UsageError(f"{options.archive} is {archive.compression}, not {options.format} (--format)")
    layout = archive_layout(archive, interrupt)
    if archive.index is not None:
        # Without an index the size is known at the end.
        tell(CheckStarted(sum(layout.sizes().values())))
    tree = NewTree(options.destination, Disk(), goes_on, options.sync)
    taken = _Taken(layout, archive)
    size = tree.write(taken, {}, taken.directories(), {BLOBS: SHARE})
    return Output((options.destination,), size, "dir")


class _Taken:
    """The files of an archive as they are unpacked, each once, and the directories that go with them."""

    def __init__(self, layout: Layout, archive: Archive) -> None:
        self._layout = layout
        self._archive = archive
        self._names: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, LayoutFile]]:
        for file in self._layout.files():
            self._names.add(file.name)
            yield file.name, file
        if LIST_NAME not in self._names:
            path = str(self._archive.volume.path)
            raise ArchiveError(f"{path} is no archive of images: there is no {LIST_NAME} in it", path=path)

    def directories(self) -> Iterator[str]:
        """The empty directories, once all files are taken."""
        folders = {name.split("/")[0] for name in self._names if name.count("/") == 1}
        yield from (f"{folder}/{BLOBS}" for folder in sorted(folders))
