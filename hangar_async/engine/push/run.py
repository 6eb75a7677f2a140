"""A run over images of a layout against one registry: their selection and names, and the client."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias, TypeVar

from hangar_async import imagelist
from hangar_async.archive.names import STANDARD_INPUT_FILE
from hangar_async.archive.read.docker_layers import LayerStore
from hangar_async.config.naming import Naming
from hangar_async.config.target_options import LoadOptions
from hangar_async.disk import Disk
from hangar_async.effort import Effort
from hangar_async.engine.events import ImageEnded, Notice, Observer, RunStarted
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.outputs import check_failed_list, check_outputs, failed_lines, tell_remarks, write_failed_list
from hangar_async.engine.reports import Comparison, LoadOutcome
from hangar_async.errors import ContentError, HangarError, InvalidValue, UsageError, the_error
from hangar_async.layout.files import Layout
from hangar_async.layout.images import read_images
from hangar_async.layout.names import matches
from hangar_async.layout.referrers import group_referrers
from hangar_async.oci import Image, Reference, ReferrerSelector
from hangar_async.registry.client import RegistryClient
from hangar_async.spooled import Computed
from hangar_async.tasks import each
from hangar_async.threads import Interrupt, in_thread

#: Images without a name that are told one by one.
_SHOWN = 5
#: An image, and its name at the target.
Named: TypeAlias = tuple[Image, Reference]


@dataclass(frozen=True, slots=True)
class Selection:
    """A layout, and the images that are selected of it, each with its name at the destination.

    `referrers` are those of the images, by their names, that go with them; `left_out` of images that are not there.
    """

    layout: Layout
    images: tuple[Named, ...]
    registry: str
    referrers: Mapping[str, tuple[Image, ...]]
    left_out: int = 0

    @property
    def is_seekable(self) -> bool:
        """True when each file of the layout can be read alone."""
        return self.layout.is_seekable

    def referrers_of(self, image: Image) -> tuple[Image, ...]:
        """Return the referrers that go with an image."""
        return self.referrers.get(image.name, ())


def open_selection(
    options: LoadOptions, check_interrupted: Callable[[], None], store: LayerStore | None = None
) -> Selection:
    """Open the source of the options, and select and name its images; synchronous, for a thread.

    Layers that must be compressed are kept in the `store`. Raises UsageError where the options do not fit the source,
    ArchiveError, ContentError and StorageError where it cannot be read.
    """
    naming = options.naming
    archive = find_archive(options.source, check_interrupted)
    source_format = "dir" if archive is None else archive.compression
    if options.format not in (None, source_format):
        raise UsageError(f"{options.source} is {source_format}, not {options.format} (--compress)")
    layout = layout_at(options.source, archive, check_interrupted, store)
    grouped = group_referrers(read_images(layout).images)
    selected = _with_name(_select(options, grouped.images), options.given_name, options.source)
    named = name_images(selected, naming)
    selector = options.referrer_selector
    referrers = {image.name: tuple(_chosen(grouped.of(image), selector)) for image, _ in named}
    left_out = len(grouped.others) if selector else 0
    registry, shard = _only_registry(named, naming), options.chosen_shard
    if shard is not None:
        named = [one for one in named if one[1].name in shard]
    return Selection(layout, tuple(named), registry, referrers, left_out)


def _chosen(referrers: Iterable[Image], selector: ReferrerSelector) -> Iterator[Image]:
    for image in referrers:
        if image.attachment is not None and image.attachment.artifact_type in selector:
            yield image


def _select(options: LoadOptions, images: Sequence[Image]) -> list[Image]:
    """Select by patterns and by list, in the order of the layout; raises UsageError for a name that is not there."""
    if not images:
        raise ContentError(f"there is no image in {options.source}", advice="name an archive or a cache directory")
    if not options.images and options.image_list is None:
        return list(images)
    names: set[str] = set()
    for pattern in options.images:
        matching = {image.name for image in images if matches(image, pattern)}
        if not matching:
            some = ", ".join(image.name for image in images[:5])
            raise UsageError(f"no image in {options.source} matches {pattern!r} (--image); it has {some}")
        names |= matching
    if options.image_list is not None:
        names |= _listed_names(options.image_list, images, options.source)
    return [image for image in images if image.name in names]


def _with_name(images: list[Image], name: Reference | None, source: Path) -> list[Image]:
    """Give the only image, or the only one without a name, a name; raises UsageError where there are several."""
    if name is None:
        if source.name == STANDARD_INPUT_FILE and (nameless := [image for image in images if not image.named]):
            raise UsageError(f"{nameless[0].name} has no name, and standard input gives it none: write --name")
        return images
    nameless = [image for image in images if not image.named] or images
    if len(nameless) > 1:
        some = ", ".join(image.name for image in nameless[:5])
        raise UsageError(f"--name {name} is for one image, and these are selected: {some}; choose one with --image")
    return [replace(image, reference=name, named=True) if image is nameless[0] else image for image in images]


def _nameless(selection: Selection) -> Iterator[str]:
    """Say of images without a name where they go."""
    nameless = [(image, target) for image, target in selection.images if not image.named]
    for image, target in nameless[:_SHOWN]:
        because = f" ({image.notes[0]})" if image.notes else ""
        yield f"{image.name} has no name{because} and goes to {target.name}:{target.tag}; --name gives it one"
    if len(nameless) > _SHOWN:
        yield f"{len(nameless) - _SHOWN} more images have no name"


def _listed(selection: Selection) -> Iterator[str]:
    """Say that images go under the names of their lines in the image list."""
    listed = [image for image, _ in selection.images if image.listed is not None]
    if listed:
        others = f", and {len(listed) - 1} more likewise" if len(listed) > 1 else ""
        yield f"{listed[0].name} goes under the name that its list had, {listed[0].listed}{others}"


def _listed_names(image_list: Path | Sequence[str], images: Sequence[Image], source: Path) -> set[str]:
    names = {image.name for image in images}
    listed = imagelist.read(image_list)
    if listed.invalid:
        raise UsageError(str(listed.invalid[0]), advice="correct the line, or remove it")
    # An image without a name is listed by its digest.
    chosen = {entry.text if entry.text in names else entry.reference.cache_name: entry for entry in listed.entries}
    missing = [entry for name, entry in chosen.items() if name not in names]
    if missing:
        raise UsageError(f"{listed.name}:{missing[0].line}: {missing[0].text} is not in {source}")
    return set(chosen)


def name_images(images: Iterable[Image], naming: Naming) -> list[Named]:
    """Name each image at its destination; raises UsageError where two would have one name, or one has none."""
    named: dict[str, Named] = {}
    for image in images:
        try:
            target = naming.target(image.wanted)
        except InvalidValue as error:
            raise UsageError(f"{image.name} cannot go to {naming}: {error}") from error
        target_name = f"{target.name}:{target.tag}"
        other = named.setdefault(target_name, (image, target))[0]
        if other is not image:
            raise UsageError(
                f"{other.name} and {image.name} would both be {target_name}: load them one after the other, with "
                "--image, or to two prefixes, or name the parts that differ in a template (--to)"
            )
    return list(named.values())


def _only_registry(named: Sequence[Named], naming: Naming) -> str:
    """Return the registry of all targets; raises UsageError where a template names several."""
    _, first = named[0]
    for image, target in named:
        if target.registry != first.registry:
            raise UsageError(
                f"--to {str(naming)!r} names two registries, {first.registry} for {named[0][0].name} and "
                f"{target.registry} for {image.name}: load them one after the other, with --image"
            )
    return first.registry


_T = TypeVar("_T", LoadOutcome, Comparison)
#: The work on one image: its place in the order, the image, and its name at the target.
Work: TypeAlias = Callable[[int, Image, Reference], Awaitable[_T]]


class LoadRun:
    """The images that options select, each with its name at the registry, and the client of the registry."""

    def __init__(self, options: LoadOptions, observe: Observer, clock: Clock, selection: Selection) -> None:
        self.options = options
        self.observe = observe
        self.clock = clock
        self.selection = selection
        self.notices: list[str] = []
        self.disk = Disk()
        #: Returns what the requests took; None where none were made.
        self.effort: Callable[[], Effort] | None = None
        self._started = time.monotonic()

    @classmethod
    async def prepare(
        cls, options: LoadOptions, observe: Observer, clock: Clock, store: LayerStore | None = None
    ) -> LoadRun:
        """Read and name the images; raises UsageError, ArchiveError, ContentError and StorageError."""
        await in_thread(check_outputs, [options.failed], [options.source, options.image_list])
        options = replace(options, failed=await in_thread(check_failed_list, options.failed))
        interrupt = Interrupt()
        run = cls(options, observe, clock, await interrupt.in_thread(open_selection, options, interrupt, store))
        planned = Computed(run.selection.images, lambda named: LoadOutcome(*named, "planned"))
        observe(RunStarted(len(planned), 0 if options.dry_run else options.limits.requests, planned))
        if note := options.limits.note(options.jobs):
            run.notice(note)
        if left_out := run.selection.left_out:
            run.notice(f"left out {left_out:,} referrers of images that are not in {options.source}")
        for text in (*_nameless(run.selection), *_listed(run.selection)):
            run.notice(text)
        return run

    @asynccontextmanager
    async def clients(self, *, push: bool) -> AsyncIterator[tuple[RegistryClient, LimitedClient]]:
        """Open the client of the registry, to push to it or to read.

        Raises RegistryErrors and NetworkError where it does not answer at all.
        """
        settings = self.options.environment.destinations
        registry = self.selection.registry
        retrier = Retrier(self.options.limits, settings.retry, self.observe, self.clock)
        async with RegistryClient(
            settings,
            username_for=registry if settings.username else None,
            connections=self.options.limits.requests,
            notice=self.notice,
        ) as registry_client:
            registry_client.expect((target for _, target in self.selection.images), push=push)
            client = LimitedClient(registry_client, retrier, len(self.selection.images))
            self.effort = lambda: client.usage.meters.effort(self.disk.times, registry_client.moved)
            await client.ping(registry)
            yield registry_client, client

    async def each(
        self, client: LimitedClient, work: Work[_T], failed: Callable[[Image, Reference, HangarError], _T]
    ) -> tuple[_T, ...]:
        """Do the work on all images, and return the results in their order.

        The result of an image whose work raised a HangarError is made by `failed`.
        """

        async def work_on(numbered: tuple[int, Named]) -> _T:
            number, (image, target) = numbered
            try:
                result = await work(number, image, target)
            except (HangarError, ExceptionGroup) as group:
                result = failed(image, target, the_error(group))
            client.image_ended()
            self.observe(ImageEnded(client.usage.measured(result, number)))
            return result

        # More than the permits, so that none is idle while an image waits for its last request.
        numbered = list(enumerate(self.selection.images))
        return client.usage.all_measured(await each(numbered, work_on, 2 * self.options.limits.requests))

    async def write_failed_list(self, outcomes: Iterable[LoadOutcome | Comparison]) -> Path | None:
        """Write the names of failed images with their reasons, for the next run."""
        lines = failed_lines((outcome.image.name, outcome.error) for outcome in outcomes)
        path = await write_failed_list(self.options.failed, lines, self.notice, self.disk)
        tell_remarks(self.disk, self.notice)
        return path

    def notice(self, text: str) -> None:
        """Report something that a person should know."""
        self.notices.append(text)
        self.observe(Notice(text))

    @property
    def seconds(self) -> float:
        """The time since the start of the run."""
        return time.monotonic() - self._started
