"""More images in a cache: the images that it had stay in its index."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hangar_async.engine.reports import Output
from hangar_async.errors import ContentError, UsageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import BLOBS, INDEX_NAME, LIST_NAME, blob_name, cache_files, folder_files
from hangar_async.layout.images import read_cache
from hangar_async.layout.manifest_loader import read_files
from hangar_async.layout.protocols import Layout
from hangar_async.oci.image import Image
from hangar_async.oci.manifest import MAX_DOCUMENT, ImageConfig
from hangar_async.store.content import ContentStore
from hangar_async.store.publish import sync_files
from hangar_async.threads import Interrupt


@dataclass(frozen=True, slots=True)
class Existing:
    """The images that a cache names, when each of their platforms was made, and notices about them."""

    images: tuple[Image, ...] = ()
    created: tuple[tuple[str, ...], ...] = ()
    notices: tuple[str, ...] = ()


def read_existing(root: Path) -> Existing:
    """Read the images that a cache names, so that its new index can name them too; synchronous, for a thread.

    Raises UsageError where the index cannot be read, or merging would lose images.
    """
    layout = DirectoryLayout(root)
    # A run that was killed at its end leaves only the file that is written first.
    files = [name for name in (INDEX_NAME, LIST_NAME) if os.path.lexists(root / name)]
    linked = (root / BLOBS).is_symlink()
    if not linked and (root / BLOBS).exists():
        raise UsageError(f"{root} is a layout of another program: its {BLOBS} is no link")
    if not files:
        return Existing()
    try:
        cache = read_cache(layout, unlisted=files == [INDEX_NAME])
    except ContentError as error:
        raise UsageError(f"cannot merge with the index of {root}: {error}") from error
    without = [image.name for image in cache.images if image.root is None]
    if without:
        raise UsageError(
            f"cannot merge with the index of {root}: its {INDEX_NAME} does not name {without[0]}, "
            f"which its {LIST_NAME} does"
        )
    images = tuple(image.without_contents() for image in cache.images)
    created = tuple(_created(image, layout) for image in cache.images)
    notices = tuple(
        f"{image.name} was incomplete before: {image.problems[0]}" for image in cache.images if image.problems
    )
    return Existing(images, created, notices)


def _created(image: Image, layout: Layout) -> tuple[str, ...]:
    configs = {blob_name(config.digest): config.digest for config in image.configs}
    created = []
    for name, raw in read_files(layout, configs, MAX_DOCUMENT):
        if isinstance(raw, bytes):
            try:
                created.append(ImageConfig.parse(raw, configs[name]).created)
            except ContentError:
                continue
    return tuple(created)


def merged(existing: Iterable[Image], new: Iterable[Image]) -> list[Image]:
    """Put new images among existing ones, each in the place of the one of its name, or at the end."""
    images = {image.reference.cache_name: image for image in existing}
    for image in new:
        images[image.reference.cache_name] = image
    return list(images.values())


class MergePacker:
    """Leaves all files in the cache, and syncs the new ones."""

    def __init__(self, store: ContentStore, sync: bool) -> None:
        self._store = store
        self._sync = sync
        self._names: set[str] = set()
        self._size = 0
        self.written = 0

    async def add(self, image: Image) -> None:
        """Note the files of an image."""
        for content in image.contents:
            name = blob_name(content.digest)
            if name not in self._names:
                self._names.add(name)
                self._size += content.size
        for platform in image.platforms:
            self._names.update(folder_files(platform))

    async def finish(self, images: Sequence[Image], saved: datetime) -> Output:
        """Sync the files; raises StorageError."""
        if self._sync:
            interrupt = Interrupt()
            names = self._names | set(cache_files(images, saved))
            await interrupt.in_thread(sync_files, self._store.disk, self._store.root, names, interrupt)
        return Output((self._store.root,), self._size, "cache")
