"""What there is to be pushed, or compared: images of holdings of any kind, chosen, and where they go."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from hangar_async import imagelist
from hangar_async.archive.read.archive import Archive
from hangar_async.archive.read.layout import IndexedLayout, StreamedLayout
from hangar_async.config.options import LoadOptions
from hangar_async.engine.open_layout import find_archive, layout_at, read_images
from hangar_async.errors import ContentError, InvalidValue, UsageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.images import HeldImage
from hangar_async.layout.protocols import Layout, SeekableLayout
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Index, Manifest
from hangar_async.oci.reference import Reference, parse_registry


@dataclass(frozen=True, slots=True)
class Selection:
    """Holdings, the images chosen of them, all documents in them by digest, and where the images go.

    `seekable` are the holdings where any file of them can be read by itself, else None.
    """

    layout: Layout
    seekable: SeekableLayout | None
    images: tuple[HeldImage, ...]
    documents: Mapping[Digest, Manifest | Index]
    sizes: Mapping[str, int]
    destination: Destination


def open_selection(options: LoadOptions, goes_on: Callable[[], None]) -> Selection:
    """Find out what there is; synchronous, for a thread.

    Raises UsageError where the options do not fit it, ArchiveError, ContentError and StorageError where it cannot be
    read.
    """
    destination = Destination.parse(options.where, options.default_project)
    archive = find_archive(options.source)
    _check_format(options, archive)
    layout = layout_at(options.source, archive, goes_on)
    catalog = read_images(layout)
    images = _chosen(options, catalog.images)
    seekable = None if isinstance(layout, StreamedLayout) else layout
    assert seekable is None or isinstance(seekable, IndexedLayout | DirectoryLayout)  # noqa: S101
    return Selection(layout, seekable, images, catalog.documents, layout.sizes(), destination)


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


@dataclass(frozen=True, slots=True)
class Destination:
    """A registry, HOST[:PORT], the path before all names in it ("" for none), and the project of names without one."""

    registry: str
    prefix: str = ""
    default_project: str = ""

    @classmethod
    def parse(cls, text: str, default_project: str = "") -> Destination:
        """Read `REGISTRY[/PREFIX]`; raises UsageError naming the flag."""
        host, _, path = text.strip().strip("/").partition("/")
        try:
            registry = parse_registry(host)
            _check_path(path)
        except InvalidValue as error:
            raise UsageError(f"--destination: {error}") from error
        try:
            _check_path(default_project)
        except InvalidValue as error:
            raise UsageError(f"--default-project: {error}") from error
        return cls(registry, path, default_project)

    def of(self, image: Reference) -> Reference:
        """Where an image goes: its own registry is dropped, an image without a tag gets `sha256-<hex>`."""
        path = f"{self.prefix}/{image.repository}" if self.prefix else image.repository
        if "/" not in path and self.default_project:
            path = f"{self.default_project}/{path}"
        return Reference(self.registry, path, image.cache_tag)

    def __str__(self) -> str:
        return f"{self.registry}/{self.prefix}" if self.prefix else self.registry


def _check_path(path: str) -> None:
    if path:
        Reference("localhost", path)  # raises InvalidValue


def name_all(images: Iterable[HeldImage], destination: Destination) -> list[tuple[HeldImage, Reference]]:
    """Name each image at its destination; raises UsageError where two would have one name, or one has none."""
    named: dict[str, tuple[HeldImage, Reference]] = {}
    for image in images:
        try:
            where = destination.of(image.reference)
        except InvalidValue as error:
            raise UsageError(f"{image.name} cannot go to {destination}: {error}") from error
        other = named.setdefault(f"{where.name}:{where.tag}", (image, where))[0]
        if other is not image:
            raise UsageError(
                f"{other.name} and {image.name} would both be {where.name}:{where.tag}: load them apart, with --image, "
                "or to two prefixes"
            )
    return list(named.values())
