"""`ls`: the images of an archive or a cache directory."""

from dataclasses import dataclass, replace
from pathlib import Path

from hangar_async.config.options import ListOptions
from hangar_async.engine.events import CheckStarted, Observer, ignore, threadsafe
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.standard_input import source_path
from hangar_async.layout.images import read_images
from hangar_async.oci import Image
from hangar_async.threads import Interrupt


@dataclass(frozen=True, slots=True)
class ListedPart:
    """One file of an archive: its size in bytes, and the SHA-256 that `NAME.sha256` has for it, None without one."""

    path: Path
    size: int
    sha256: str | None


@dataclass(frozen=True, slots=True)
class Listing:
    """The content of an archive or a directory.

    `format` is gzip, zstd or dir. `parts` are the files of an archive in their order, one where it is not split, none
    of a directory; `strays` look like parts and are not of it. `indexed` says whether any of its files can be read by
    itself. `size` is in bytes on the disk, `content_size` that of the files in it. `saved` is the time of its list.
    """

    path: Path
    format: str
    indexed: bool
    parts: tuple[ListedPart, ...]
    strays: tuple[Path, ...]
    size: int
    content_size: int
    saved: str
    images: tuple[Image, ...]

    @property
    def incomplete(self) -> tuple[Image, ...]:
        """The images that are not whole."""
        return tuple(image for image in self.images if image.problems)


async def ls(options: ListOptions, observer: Observer = ignore) -> Listing:
    """List the images of an archive, its parts or one of them, or a cache directory.

    Nothing is unpacked. Blobs are looked for, not read: `verify` reads them. An archive without index is read
    once. Raises UsageError for a path that does not exist, ArchiveError and ContentError for one that is no archive or
    cache, StorageError.
    """
    interrupt = Interrupt()
    async with source_path(options.source) as path:
        listing = await interrupt.in_thread(_ls, path, interrupt, threadsafe(observer))
    return listing if path == options.source else replace(listing, path=options.source, parts=())


def _ls(path: Path, interrupt: Interrupt, observer: Observer) -> Listing:
    archive = find_archive(path, interrupt)
    layout = layout_at(path, archive, interrupt)
    if not layout.is_seekable and archive is not None:
        observer(CheckStarted(archive.volume.size))
    contents = read_images(layout)
    content_size = sum(layout.sizes().values())
    if archive is None:
        return Listing(path, "dir", True, (), (), content_size, content_size, contents.saved, contents.images)
    volume = archive.volume
    parts = tuple(ListedPart(part.path, part.size, part.digest) for part in volume.parts)
    return Listing(
        path=volume.path,
        format=archive.compression,
        indexed=layout.is_seekable,
        parts=parts,
        strays=volume.strays,
        size=volume.size,
        content_size=content_size,
        saved=contents.saved,
        images=contents.images,
    )
