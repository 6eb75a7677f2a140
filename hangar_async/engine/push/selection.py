"""The images of a layout that are pushed or compared, and their names at the target."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeAlias

from hangar_async import imagelist
from hangar_async.archive.read.layout import StreamedLayout
from hangar_async.config.options import LoadOptions
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.errors import ContentError, InvalidValue, UsageError
from hangar_async.layout.images import read_images
from hangar_async.layout.protocols import Layout
from hangar_async.oci.image import Image
from hangar_async.oci.reference import Reference, parse_registry

#: An image, and its name at the target.
Named: TypeAlias = tuple[Image, Reference]


@dataclass(frozen=True, slots=True)
class Selection:
    """A layout, and the images that are selected of it, each with its name at the destination."""

    layout: Layout
    images: tuple[Named, ...]
    registry: str

    @property
    def is_seekable(self) -> bool:
        """Whether any file of the layout can be read by itself."""
        return not isinstance(self.layout, StreamedLayout)


def open_selection(options: LoadOptions, check_interrupted: Callable[[], None]) -> Selection:
    """Open the source of the options, and select and name its images; synchronous, for a thread.

    Raises UsageError where the options do not fit the source, ArchiveError, ContentError and StorageError where it
    cannot be read.
    """
    destination = Destination.parse(options.where, options.default_project)
    archive = find_archive(options.source)
    source_format = "dir" if archive is None else archive.compression
    if options.format not in (None, source_format):
        raise UsageError(f"{options.source} is {source_format}, not {options.format} (--compress)")
    layout = layout_at(options.source, archive, check_interrupted)
    images = _select(options, read_images(layout).images)
    return Selection(layout, tuple(name_images(images, destination)), destination.registry)


def _select(options: LoadOptions, images: Sequence[Image]) -> list[Image]:
    """Select by patterns and by list, in the order of the layout; raises UsageError for a name that is not there."""
    if not images:
        raise ContentError(f"there is no image in {options.source}", advice="name an archive or a cache directory")
    if not options.images and options.wanted is None:
        return list(images)
    names: set[str] = set()
    for pattern in options.images:
        matching = {image.name for image in images if _matches(image, pattern)}
        if not matching:
            some = ", ".join(image.name for image in images[:5])
            raise UsageError(f"no image in {options.source} matches {pattern!r} (--image); it has {some}")
        names |= matching
    if options.wanted is not None:
        names |= _listed_names(options.wanted, images, options.source)
    return [image for image in images if image.name in names]


def _matches(image: Image, pattern: str) -> bool:
    """Tell whether a pattern matches the name, with or without the registry, with or without the tag."""
    reference = image.reference
    names = {image.name, f"{reference.repository}:{reference.cache_tag}", reference.name, reference.repository}
    return any(fnmatchcase(name, pattern) for name in names)


def _listed_names(wanted: Path | Sequence[str], images: Sequence[Image], source: Path) -> set[str]:
    names = {image.name for image in images}
    listed = imagelist.read(wanted)
    missing = [entry for entry in listed.entries if entry.reference.cache_name not in names]
    if missing:
        raise UsageError(f"{listed.name}:{missing[0].line}: {missing[0].text} is not in {source}")
    return {entry.reference.cache_name for entry in listed.entries}


@dataclass(frozen=True, slots=True)
class Destination:
    """A registry, HOST[:PORT], the path before all names in it ("" for none), and the project of names without one."""

    registry: str
    prefix: str = ""
    default_project: str = ""

    @classmethod
    def parse(cls, text: str, default_project: str = "") -> Destination:
        """Read `REGISTRY[/PREFIX]`; raises UsageError that names the flag."""
        host, _, path = text.strip().strip("/").partition("/")
        flag = "--destination"
        try:
            registry = parse_registry(host)
            _check_path(path)
            flag = "--default-project"
            _check_path(default_project)
        except InvalidValue as error:
            raise UsageError(f"{flag}: {error}") from error
        return cls(registry, path, default_project)

    def target(self, image: Reference) -> Reference:
        """Return the name of an image at the destination; an image without a tag gets `sha256-<hex>`."""
        path = f"{self.prefix}/{image.repository}" if self.prefix else image.repository
        if "/" not in path and self.default_project:
            path = f"{self.default_project}/{path}"
        return Reference(self.registry, path, image.cache_tag)

    def __str__(self) -> str:
        return f"{self.registry}/{self.prefix}" if self.prefix else self.registry


def _check_path(path: str) -> None:
    if path:
        Reference("localhost", path)  # raises InvalidValue


def name_images(images: Iterable[Image], destination: Destination) -> list[Named]:
    """Name each image at its destination; raises UsageError where two would have one name, or one has none."""
    named: dict[str, Named] = {}
    for image in images:
        try:
            target = destination.target(image.reference)
        except InvalidValue as error:
            raise UsageError(f"{image.name} cannot go to {destination}: {error}") from error
        target_name = f"{target.name}:{target.tag}"
        other = named.setdefault(target_name, (image, target))[0]
        if other is not image:
            raise UsageError(
                f"{other.name} and {image.name} would both be {target_name}: load them one after the other, with "
                "--image, or to two prefixes"
            )
    return list(named.values())
