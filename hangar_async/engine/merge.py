"""The output of `sync`: new images beside those that a cache directory holds already."""

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from hangar_async.engine.pack import count
from hangar_async.engine.reports import Output
from hangar_async.errors import ContentError, UsageError
from hangar_async.layout import files as layout_files
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.limits import ImageTotals, LayoutTotals, most_entries
from hangar_async.layout.manifest_loader import read_files
from hangar_async.oci import MAX_DOCUMENT, Image, ImageConfig
from hangar_async.spooled import Computed
from hangar_async.store.content import ContentStore
from hangar_async.store.publish import sync_files
from hangar_async.threads import Interrupt


@dataclass(frozen=True, slots=True)
class Existing:
    """The images that a cache names, when each of their platforms was made, and notices about them.

    `totals` are by the names in the cache, and `stored` is the size of all its files in bytes.
    """

    images: tuple[Image, ...] = ()
    totals: Mapping[str, ImageTotals] = field(default_factory=dict)
    stored: int = 0
    created: tuple[tuple[str, ...], ...] = ()
    notices: tuple[str, ...] = ()

    def with_new(self, new: Sequence[Image]) -> Sequence[Image]:
        """Put new images among these, each in the place of the one of its name, or at the end."""
        names = [image.reference.cache_name for image in self.images]
        if not names:
            return new
        places, replacing, added = {name: number for number, name in enumerate(names)}, list(self.images), list[int]()
        for number, image in enumerate(new):
            place = places.get(image.reference.cache_name)
            if place is None:
                added.append(number)
            else:
                replacing[place] = image
        places_of_all = range(len(replacing) + len(added))
        return Computed(
            places_of_all, lambda at: replacing[at] if at < len(replacing) else new[added[at - len(replacing)]]
        )


def read_existing(root: Path) -> Existing:
    """Read the images that a cache names, so that its new index can name them too; synchronous, for a thread.

    Raises UsageError where the index cannot be read, or merging would lose images.
    """
    from hangar_async.layout.images import read_cache

    layout = DirectoryLayout(root)
    # A run that was killed at its end leaves only the file that is written first.
    files = [name for name in (layout_files.INDEX_NAME, layout_files.LIST_NAME) if os.path.lexists(root / name)]
    linked = (root / layout_files.BLOBS).is_symlink()
    if not linked and (root / layout_files.BLOBS).exists():
        raise UsageError(f"{root} is a layout of another program: its {layout_files.BLOBS} is no link")
    if not files:
        return Existing()
    try:
        cache = read_cache(layout, unlisted=files == [layout_files.INDEX_NAME])
    except ContentError as error:
        raise UsageError(f"cannot merge with the index of {root}: {error}") from error
    without = [image.name for image in cache.images if image.root is None]
    if without:
        raise UsageError(
            f"cannot merge with the index of {root}: its {layout_files.INDEX_NAME} does not name {without[0]}, "
            f"which its {layout_files.LIST_NAME} does"
        )
    images = tuple(image.without_contents() for image in cache.images)
    created = tuple(_created(image, layout) for image in cache.images)
    notices = tuple(
        f"{image.name} was incomplete before: {image.problems[0]}" for image in cache.images if image.problems
    )
    stored = layout.stored_size()
    totals = {image.reference.cache_name: ImageTotals.of(image, most_entries(stored)) for image in cache.images}
    return Existing(images, totals, stored, created, notices)


def _created(image: Image, layout: layout_files.Layout) -> tuple[str, ...]:
    configs = {layout_files.blob_name(config.digest): config.digest for config in image.configs}
    created = []
    for name, raw in read_files(layout, configs, MAX_DOCUMENT):
        if isinstance(raw, bytes):
            try:
                created.append(ImageConfig.parse(raw, configs[name]).created)
            except ContentError:
                continue
    return tuple(created)


class MergePacker:
    """Leaves all files in the cache, and syncs the new ones: `sync` before the index names them."""

    def __init__(self, store: ContentStore, sync: bool, existing: Existing) -> None:
        self._store = store
        self._sync = sync
        self._names: set[str] = set()
        self._size = 0
        self._stored = existing.stored
        self._totals = LayoutTotals()
        self._replaced = dict(existing.totals)
        for totals in existing.totals.values():
            self._totals.change(totals)
        self.written = 0

    async def add(self, image: Image) -> None:
        """Note the files of an image; raises StorageError where no reader would take the cache."""
        if (replaced := self._replaced.pop(image.reference.cache_name, None)) is not None:
            self._totals.change(replaced, -1)
        for content in image.contents:
            name = layout_files.blob_name(content.digest)
            if name not in self._names:
                self._names.add(name)
                self._size += content.size
        for platform in image.platforms:
            self._names.update(layout_files.folder_files(platform))
        # A part of the new may have been there: so much is stored at least.
        count(self._totals, image, max(self._stored, self._size), self._store.root)

    async def sync(self) -> None:
        """Wait until the files of all images are on the disk; raises StorageError."""
        if self._sync:
            interrupt = Interrupt()
            await interrupt.in_thread(sync_files, self._store.disk, self._store.root, self._names, interrupt)

    async def finish(self, images: Sequence[Image], saved: datetime, failed: Collection[str]) -> Output:
        """Return the output: its index was written to the disk."""
        return Output((self._store.root,), self._size, "cache")
