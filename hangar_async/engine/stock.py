"""What there is to be pushed, or compared: images of holdings of any kind, chosen, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hangar_async import imagelist
from hangar_async.archive.archive import Archive
from hangar_async.archive.holdings import IndexedHoldings, StreamedHoldings
from hangar_async.config import LoadOptions
from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.naming import Destination
from hangar_async.engine.places import find_archive, holdings_at, read_images
from hangar_async.errors import ContentError, UsageError
from hangar_async.oci.digest import Digest
from hangar_async.oci.holdings import Holdings, SeekableHoldings
from hangar_async.oci.manifest import Index, Manifest
from hangar_async.store.holdings import DirectoryHoldings


@dataclass(frozen=True, slots=True)
class Stock:
    """Holdings, the images chosen of them, all documents in them by digest, and where the images go.

    `seekable` are the holdings where any file of them can be read by itself, else None.
    """

    holdings: Holdings
    seekable: SeekableHoldings | None
    images: tuple[HeldImage, ...]
    documents: Mapping[Digest, Manifest | Index]
    sizes: Mapping[str, int]
    destination: Destination


def open_stock(options: LoadOptions, goes_on: Callable[[], None]) -> Stock:
    """Find out what there is; synchronous, for a thread.

    Raises UsageError where the options do not fit it, ArchiveError, ContentError and StorageError where it cannot be
    read.
    """
    destination = Destination.parse(options.where, options.default_project)
    archive = find_archive(options.source)
    _check_format(options, archive)
    holdings = holdings_at(options.source, archive, goes_on)
    catalog = read_images(holdings)
    images = _chosen(options, catalog.images)
    seekable = None if isinstance(holdings, StreamedHoldings) else holdings
    assert seekable is None or isinstance(seekable, IndexedHoldings | DirectoryHoldings)  # noqa: S101
    return Stock(holdings, seekable, images, catalog.documents, holdings.sizes(), destination)


def _check_format(options: LoadOptions, archive: Archive | None) -> None:
    found = "dir" if archive is None else archive.compression
    if options.format not in (None, found):
        raise UsageError(f"{options.source} is {found}, not {options.format} (--compress)")


def _chosen(options: LoadOptions, images: Sequence[HeldImage]) -> tuple[HeldImage, ...]:
    """Choose by patterns and by list; raises UsageError for what names nothing that is there."""
    if not images:
        raise ContentError(f"there is no image in {options.source}", advice="name an archive or a cache directory")
    chosen = dict.fromkeys(images) if not options.images and options.wanted is None else {}
    for pattern in options.images:
        found = [image for image in images if _matches(image, pattern)]
        if not found:
            some = ", ".join(image.name for image in images[:5])
            raise UsageError(f"no image in {options.source} matches {pattern!r} (--image); it has {some}")
        chosen |= dict.fromkeys(found)
    if options.wanted is not None:
        chosen |= dict.fromkeys(_listed(options.wanted, images, options.source))
    # In the order in which they are held.
    return tuple(image for image in images if image in chosen)


def _matches(image: HeldImage, pattern: str) -> bool:
    """Whether a pattern is of the name with the registry, or without it, or of what comes before the tag."""
    names = {image.name, f"{image.reference.repository}:{image.reference.cache_tag}"}
    names |= {image.reference.name, image.reference.repository}
    return any(fnmatchcase(name, pattern) for name in names)


def _listed(wanted: Path | Sequence[str], images: Sequence[HeldImage], source: Path) -> list[HeldImage]:
    held = {image.name: image for image in images}
    listed = imagelist.read(wanted)
    missing = [entry for entry in listed.entries if entry.reference.cache_name not in held]
    if missing:
        raise UsageError(f"{listed.name}:{missing[0].line}: {missing[0].text} is not in {source}")
    return [held[entry.reference.cache_name] for entry in listed.entries]
