"""`compress` and `merge`: sources into an archive; `decompress`: an archive into a directory."""

import os
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.forms import archive_files, directory_layout
from hangar_async.archive.read.search import is_there
from hangar_async.config.options import CompressOptions, DecompressOptions, MergeOptions
from hangar_async.config.output import OutputSettings
from hangar_async.engine import events
from hangar_async.engine.gather import Sources
from hangar_async.engine.open_layout import find_archive, layer_store
from hangar_async.engine.outputs import (
    check_directory,
    check_output,
    check_outputs,
    check_target,
    temporary_directory,
    told_disk,
)
from hangar_async.engine.pack import open_packer, saved_time
from hangar_async.engine.pull.space import PartCheck
from hangar_async.engine.reports import ImageOutcome, Output, Report, Traffic
from hangar_async.engine.standard_input import STANDARD_INPUT, source_path
from hangar_async.errors import ArchiveError, ContentError, HangarError, UsageError, the_error
from hangar_async.imagelist import Entry
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import BLOBS, CACHE_NAME, LIST_NAME, SHARE, Layout, LayoutFile
from hangar_async.layout.images import read_cache
from hangar_async.oci import Image
from hangar_async.store.content import ContentStore, created_of, open_store
from hangar_async.store.publish import NewTree
from hangar_async.tasks import ahead
from hangar_async.threads import Interrupt, in_thread

#: The images that are hashed while the one before them is packed: hashing has a core of its own then.
_CHECKED_AHEAD = 2


async def compress(options: CompressOptions, observer: events.Observer = events.ignore) -> Report:
    """Make an archive of the images that a cache directory, or a source of any other form, names; each blob is hashed.

    An image that is damaged or incomplete is an outcome in the report, and not in the archive. Raises UsageError,
    ArchiveError, StorageError, and ContentError for a source without images.
    """
    if options.cache != STANDARD_INPUT and not await in_thread(_exists, options.cache):
        raise UsageError(f"there is no cache directory {options.cache} (-f)")
    if not await in_thread(_is_cache, options.cache):
        return await merge(MergeOptions(sources=[options.cache], output=options.output), observer)
    started = time.monotonic()
    await in_thread(check_directory, options.cache, "-f", is_made=False)
    settings = await in_thread(check_output, options.output, [options.cache])
    cache = await in_thread(lambda: read_cache(DirectoryLayout(options.cache)))
    return await _archive(cache.images, options.cache, settings, observer, started)


async def merge(options: MergeOptions, observer: events.Observer = events.ignore) -> Report:
    """Make one archive of the images of sources of any form, each digest once.

    Their contents lie in a temporary directory beside the archive for a while. An incomplete image is an outcome in the
    report, and not in the archive. Raises UsageError also where two images of one name differ and no choice is made,
    ArchiveError and ContentError for a source that cannot be read, StorageError.
    """
    started = time.monotonic()
    settings = await in_thread(check_output, options.output, options.sources)
    interrupt = Interrupt()
    async with AsyncExitStack() as stack:
        disk = stack.enter_context(told_disk(lambda text: observer(events.Notice(text))))
        parent = settings.target.parent
        paths = [await stack.enter_async_context(source_path(path, parent)) for path in options.sources]
        temporary = await stack.enter_async_context(temporary_directory(parent, "merge", disk))
        store = await stack.enter_async_context(layer_store(temporary, disk))
        sources = await interrupt.in_thread(Sources, paths, options.prefer, interrupt, store)
        for text in sources.notices:
            observer(events.Notice(f"{text}; the {options.prefer} one is taken"))
        images, root = sources.images, temporary / CACHE_NAME
        observer(events.CheckStarted(_merged_bytes(images)))
        report = events.report_checked(interrupt, events.threadsafe(observer))
        await interrupt.in_thread(sources.write, root, disk, report)
        return await _archive(images, root, settings, observer, started)


def _merged_bytes(images: Sequence[Image]) -> int:
    """Return the bytes that a merge reads: it copies each content once, and checks those of each image before it."""
    contents = [content for image in images if not image.problems for content in image.contents]
    copied = {content.digest: content.size for content in contents}
    return sum(copied.values()) + sum(content.size for content in contents)


def _exists(path: Path) -> bool:
    """Tell whether there is a directory of this name, or an archive, whose parts have others."""
    return os.path.lexists(path) or is_there(path)


def _is_cache(path: Path) -> bool:
    return path.is_dir() and isinstance(directory_layout(path), DirectoryLayout)


async def _archive(
    images: Sequence[Image], cache: Path, settings: OutputSettings, observer: events.Observer, started: float
) -> Report:
    observer(events.RunStarted(sum(image.attachment is None for image in images), 0))
    if settings.remark:
        observer(events.Notice(settings.remark))
    parts = PartCheck(settings, lambda text: observer(events.Notice(text)))
    parts.plan(content for image in images for content in image.contents)
    try:
        outcomes, output = await _pack(images, cache, settings, observer)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    report = Report(tuple(outcomes), (), 0, Traffic(), output, time.monotonic() - started)
    observer(events.RunEnded(report))
    return report


async def _pack(
    cached_images: Sequence[Image], cache: Path, settings: OutputSettings, observer: events.Observer
) -> tuple[Sequence[ImageOutcome], Output | None]:
    outcomes: list[ImageOutcome] = []
    images: list[Image] = []
    created: list[str] = []
    async with (
        _opened(cache, observer) as store,
        open_packer(settings, store, observer) as packer,
        ahead(cached_images, partial(_check, store=store, observe=observer), _CHECKED_AHEAD) as checked,
    ):
        async for cached, image in checked:
            entry = Entry(cached.reference, len(outcomes) + 1, cached.name)
            if isinstance(image, HangarError):
                outcome = ImageOutcome(entry, error=image)
            else:
                await packer.add(image)
                created += await created_of(store, image)
                images.append(image.without_contents())
                if image.attachment is not None:
                    continue  # it belongs to another one
                outcome = ImageOutcome(entry, images[-1])
            outcomes.append(outcome)
            observer(events.ImageEnded(outcome))
        if not images:
            return outcomes, None
        failed = [outcome.entry.reference.cache_name for outcome in outcomes if not outcome.ok]
        return outcomes, await packer.finish(images, saved_time(settings.epoch, created), failed)


@asynccontextmanager
async def _opened(cache: Path, observe: events.Observer) -> AsyncIterator[ContentStore]:
    with told_disk(lambda text: observe(events.Notice(text))) as disk:
        async with open_store(cache, disk) as store:
            yield store


async def _check(image: Image, store: ContentStore, observe: events.Observer) -> Image | HangarError:
    try:
        return await _checked(image, store, observe)
    except HangarError as error:
        return error


async def _checked(image: Image, store: ContentStore, observe: events.Observer) -> Image:
    """Hash everything that an image needs, and return it with its root; raises ContentError for missing content."""
    advice = "bring the image into the cache again"
    if image.problems:
        raise ContentError(image.problems[0], advice=advice)
    for content in image.contents:
        if not await store.contains(content.digest, content.size):
            message = f"blob {content.digest} is damaged, and was removed"
            raise ContentError(message, digest=str(content.digest), advice=advice)
        observe(events.Checked(content.size))
    if image.root is not None:
        return image
    # A cache without an index of its own: the root is the one manifest, or an index that is made of them.
    if len(image.platforms) == 1:
        return replace(image, root=image.platforms[0].descriptor)
    root = image.root_document()
    await store.put(root.raw, root.digest)
    return replace(image, root=root.descriptor, contents=(*image.contents, root.descriptor))


async def decompress(options: DecompressOptions, observer: events.Observer = events.ignore) -> Output:
    """Unpack an archive, its parts or one of them, into a new directory; every blob is checked on the way.

    Only files of the format are taken, under names of the format. Raises UsageError, ArchiveError and ContentError for
    an archive that is broken or hostile, StorageError; no files are left then.
    """
    destination = await in_thread(check_target, options.destination, directory=True)
    await in_thread(check_outputs, [destination], [options.archive])
    options = replace(options, destination=destination)
    interrupt = Interrupt()
    return await interrupt.in_thread(_unpack, options, interrupt, events.threadsafe(observer))


def _unpack(options: DecompressOptions, interrupt: Interrupt, observer: events.Observer) -> Output:
    archive = find_archive(options.archive, interrupt)
    if archive is None:
        raise UsageError(f"{options.archive} is a directory: there is nothing to unpack (-f)")
    if options.format not in (None, archive.compression):
        raise UsageError(f"{options.archive} is {archive.compression}, not {options.format} (--format)")
    layout = archive_files(archive, interrupt)
    if not getattr(layout, "own", True):
        raise _not_ours(archive)
    if layout.is_seekable:
        # Without an index the size is known at the end.
        observer(events.CheckStarted(sum(layout.sizes().values())))
    files = _ArchiveFiles(layout, archive)
    with told_disk(lambda text: observer(events.Notice(text))) as disk:
        tree = NewTree(options.destination, disk, events.report_checked(interrupt, observer), options.sync)
        size = tree.write(files, {}, files.directories(), {BLOBS: SHARE})
    return Output((options.destination,), size, "dir")


def _not_ours(archive: Archive) -> ArchiveError:
    path = str(archive.volume.path)
    advice = "read it where it is, with ls, load and extract; or unpack it with the tool that made it"
    return ArchiveError(f"{path} is no archive of a cache: there is no {LIST_NAME} in it", path=path, advice=advice)


class _ArchiveFiles:
    """The files of an archive as they are unpacked, each once, and the empty directories of the cache."""

    def __init__(self, layout: Layout, archive: Archive) -> None:
        self._layout = layout
        self._archive = archive
        self._names: set[str] = set()

    def __iter__(self) -> Iterator[tuple[str, LayoutFile]]:
        for file in self._layout.files():
            self._names.add(file.name)
            yield file.name, file
        if LIST_NAME not in self._names:
            raise _not_ours(self._archive)

    def directories(self) -> Iterator[str]:
        """Yield the empty directories, once all files are unpacked."""
        folders = {name.split("/")[0] for name in self._names if name.count("/") == 1}
        yield from (f"{folder}/{BLOBS}" for folder in sorted(folders))
