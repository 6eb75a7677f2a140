"""Images of sources of any form, brought together in a cache directory, each digest once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from hangar_async.archive.read.docker_layers import LayerStore
from hangar_async.disk import Disk
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.errors import DigestMismatch, UsageError
from hangar_async.layout.files import Layout, LayoutFile, blob_name, folder_names
from hangar_async.layout.images import read_images
from hangar_async.oci import Digest, Image
from hangar_async.store.directory import LOCK_NAME
from hangar_async.store.publish import NewTree
from hangar_async.threads import Interrupt

#: Conflicts that are named; the rest are counted.
_SHOWN = 5


class Sources:
    """The images of sources, in their order; of a name that two of them have, one image is chosen.

    Synchronous, for a thread. `prefer` is `first` or `last`, for images of one name whose digests differ; `notices`
    tell the choices. Raises UsageError where they differ and `prefer` is None, ArchiveError, ContentError and
    StorageError for a source that cannot be read.
    """

    def __init__(
        self, paths: Sequence[Path], prefer: str | None, interrupt: Interrupt, store: LayerStore | None = None
    ) -> None:
        self._interrupt = interrupt
        self._prefer = prefer
        self._layouts: list[Layout] = []
        self._chosen: dict[str, tuple[Layout, Image]] = {}
        self.notices: list[str] = []
        for path in paths:
            layout = layout_at(path, find_archive(path, interrupt), interrupt, store)
            self._layouts.append(layout)
            for image in read_images(layout).images:
                self._choose(layout, image)
        if self.notices and prefer is None:
            more = f" and {len(self.notices) - _SHOWN} more" if len(self.notices) > _SHOWN else ""
            raise UsageError(
                f"{'; '.join(self.notices[:_SHOWN])}{more}: choose one with --prefer first or --prefer last"
            )

    @property
    def images(self) -> list[Image]:
        """The images that are chosen, with the folders that they have in a cache."""
        return [_with_folders(image) for _, image in self._chosen.values()]

    def write(self, root: Path, disk: Disk, report: Callable[[int], None]) -> None:
        """Write the contents of all whole images into a new cache directory; each is hashed.

        Raises ContentError for a damaged one.
        """
        files = ((file.name, file) for layout in self._layouts for file in self._files(layout))
        try:
            # The sign of a cache of ours that a run is at work in.
            NewTree(root, disk, report, sync=False).write(self._each_once(files), {LOCK_NAME: b""})
        except DigestMismatch as error:
            error.advice = "get the source again; verify names everything that is damaged"
            raise

    def _choose(self, layout: Layout, image: Image) -> None:
        name = image.reference.cache_name
        earlier = self._chosen.setdefault(name, (layout, image))[1]
        if earlier is image:
            return
        before, now = _digest(earlier), _digest(image)
        is_same = before == now
        if not is_same:
            self.notices.append(f"{image.name} is {before} in one source, and {now} in a later one")
        # One that is whole is as good as another of the same digest.
        if (is_same and earlier.problems) or (not is_same and self._prefer == "last"):
            self._chosen[name] = layout, image

    def _files(self, layout: Layout) -> Iterator[LayoutFile]:
        images = [image for chosen, image in self._chosen.values() if chosen is layout and not image.problems]
        return layout.files({blob_name(content.digest) for image in images for content in image.contents})

    def _each_once(self, files: Iterator[tuple[str, LayoutFile]]) -> Iterator[tuple[str, LayoutFile]]:
        seen: set[str] = set()
        for name, file in files:
            self._interrupt()
            if name not in seen:
                seen.add(name)
                yield name, file


def _digest(image: Image) -> Digest:
    """Return the digest of an image in its registry; an archive of Hangar has none of several platforms together."""
    return image.original or image.digest or image.root_document().digest


def _with_folders(image: Image) -> Image:
    manifests = [(platform.descriptor.digest, platform.platform) for platform in image.platforms]
    folders = folder_names(image.reference, manifests)
    platforms = (replace(one, folder=folder) for one, folder in zip(image.platforms, folders, strict=True))
    return replace(image, platforms=tuple(platforms))
