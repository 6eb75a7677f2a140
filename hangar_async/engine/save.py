"""`save`: images of a list into an archive or a directory; `sync`: into a cache."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field

from hangar_async import imagelist
from hangar_async.config.options import SaveOptions
from hangar_async.config.output import OutputSettings
from hangar_async.config.registries import MAX_JOBS
from hangar_async.engine.events import ImageEnded, Notice, Observer, QuotaReported, RunEnded, RunStarted, ignore
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Clock, RateLimit
from hangar_async.engine.outputs import check_destination, check_failed_list, write_failed_list
from hangar_async.engine.pack import (
    Existing,
    MergePacker,
    Packer,
    merged,
    open_packer,
    read_existing,
    saved_time,
)
from hangar_async.engine.pull.fetch import Fetcher, Receiver
from hangar_async.engine.pull.image import FetchedImage, ImageFetcher
from hangar_async.engine.pull.plan import Planner
from hangar_async.engine.pull.space import SpaceCheck
from hangar_async.engine.reports import ImageOutcome, Output, Report
from hangar_async.engine.validate import compare_saved
from hangar_async.errors import the_error
from hangar_async.imagelist import ImageList
from hangar_async.oci.image import Image
from hangar_async.registry.client import RegistryClient
from hangar_async.singleflight import SingleFlight
from hangar_async.store.content import ContentStore, open_store, write_cache
from hangar_async.threads import in_thread


async def save(options: SaveOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> Report:
    """Save the images of a list into one archive, parts of one, or a directory; `clock` times the waits.

    An image that fails is an outcome in the report, not an exception. Cancelling leaves no temporary archive; fetched
    blobs stay in the cache. Raises UsageError before any work starts, StorageError when the output or the cache
    cannot be written; an earlier output is whole then.
    """
    return await _run(_Save(options, observer, clock or Clock()), options)


async def sync(options: SaveOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> Report:
    """Bring more images of a list into an existing cache directory, `options.cache`, whose index keeps all others.

    An image replaces an earlier one of its name. Format, destination and parts have no meaning here. Everything else is
    as in `save`.
    """
    return await _run(_Sync(options, observer, clock or Clock()), options)


async def _run(run: _Save, options: SaveOptions) -> Report:
    images = await in_thread(imagelist.read, options.images, options.list_name, options.source_registry)
    await run.check()
    try:
        report = await run.save(images)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    run.observe(RunEnded(report))
    return report


@dataclass
class _Saved:
    """The images so far, in list order."""

    outcomes: list[ImageOutcome] = field(default_factory=list)
    images: list[Image] = field(default_factory=list)
    created: list[str] = field(default_factory=list)


class _Save:
    """One run of `save`."""

    def __init__(self, options: SaveOptions, observe: Observer, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self.observe = observe
        self._notices: list[str] = []
        self._started = self._last_image_at = time.monotonic()

    async def check(self) -> None:
        """Raise UsageError when the output cannot be made."""
        await in_thread(check_destination, self._options)

    def open_packer(self, store: ContentStore) -> AbstractAsyncContextManager[Packer]:
        """Open the packer that takes the images."""
        return open_packer(self._options.output, store, self.observe)

    @property
    def output(self) -> OutputSettings | None:
        """The output that is written beside the cache."""
        return self._options.output

    def indexed(self, images: Sequence[Image]) -> Sequence[Image]:
        """Return the images that the index of the cache is to name when these are saved."""
        return images

    def created(self, saved: _Saved) -> Sequence[str]:
        """Return when the images that the index is to name were made."""
        return saved.created

    async def save(self, images: ImageList) -> Report:
        """Save the images of a list."""
        options = self._options
        self.observe(RunStarted(len(images.entries), options.permits))
        registry = self._registry_of_credentials(images)
        if options.jobs != options.permits:
            self._notice(f"--jobs {options.jobs} is outside of 1 to {MAX_JOBS}: {options.permits} is used")
        for line in images.invalid:
            self._notice(str(line))
        settings = options.environment.registries
        async with (
            open_store(options.cache) as store,
            RegistryClient(
                settings,
                username_for=registry,
                connections=options.permits,
                notice=self._notice,
                quota=lambda host, quota: self.observe(QuotaReported(host, quota.remaining, quota.limit, quota.window)),
            ) as registry_client,
        ):
            client = LimitedClient(registry_client, Retrier(options.permits, settings.retry, self.observe, self._clock))
            receiver = Receiver(client, RateLimit(settings.limit_rate, self._clock), self.observe)
            async with self.open_packer(store) as packer:
                saved = await self._save_images(images, store, receiver, packer)
                if all(outcome.ok for outcome in saved.outcomes):
                    await store.forget_partials()
                output = await self._finish(saved, store, packer)
            if options.validate and output is not None:
                await self._validate(saved, output, client)
        failed = [outcome.entry.text for outcome in saved.outcomes if not outcome.ok]
        failed_list = await in_thread(write_failed_list, options.failed, failed)
        ended = time.monotonic()
        return Report(
            outcomes=tuple(saved.outcomes),
            invalid=images.invalid,
            duplicates=images.duplicates,
            traffic=receiver.traffic,
            output=output,
            seconds=ended - self._started,
            tail_seconds=ended - self._last_image_at,
            validated=options.validate and output is not None,
            failed_list=failed_list,
            notices=tuple(self._notices),
        )

    async def _save_images(self, images: ImageList, store: ContentStore, receiver: Receiver, packer: Packer) -> _Saved:
        """Fetch all images at the same time, and pack each as soon as those before it in the list are packed."""
        saved = _Saved()
        options = self._options
        space = SpaceCheck(store.root, self.output, lambda: receiver.received, lambda: packer.written)
        async with SingleFlight() as flights, asyncio.TaskGroup() as group:
            mirrors = options.environment.registries.mirrors
            fetcher = Fetcher(flights, receiver, store, len(images.entries), mirrors)
            planner = Planner(fetcher, store, options.selector, options.include_foreign)
            work = ImageFetcher(fetcher, planner, store, space, self.observe)
            tasks = [group.create_task(work.fetch(entry, number)) for number, entry in enumerate(images.entries)]
            for task in tasks:
                task.add_done_callback(self._image_ended)
            for task in tasks:
                fetched = await task
                saved.outcomes.append(fetched.outcome)
                if fetched.image is not None:
                    await packer.add(fetched.image)
                    saved.images.append(fetched.image.without_contents())
                    saved.created.extend(fetched.created)
        return saved

    def _image_ended(self, task: asyncio.Task[FetchedImage]) -> None:
        if not task.cancelled() and task.exception() is None:
            self._last_image_at = time.monotonic()
            self.observe(ImageEnded(task.result().outcome))

    async def _finish(self, saved: _Saved, store: ContentStore, packer: Packer) -> Output | None:
        if not saved.images:
            return None
        moment = saved_time(self._options.output.epoch, self.created(saved))
        if not await write_cache(store, self.indexed(saved.images), moment):
            self._notice(f"the file system of {store.root} has no links: other tools read it only image by image")
        return await packer.finish(saved.images, moment)

    async def _validate(self, saved: _Saved, output: Output, client: LimitedClient) -> None:
        """Compare the output with its source; an image that differs has failed."""
        mirrors = self._options.environment.registries.mirrors
        saved.outcomes = await compare_saved(saved.outcomes, output.path, client, mirrors)
        for outcome in saved.outcomes:
            if outcome.image is not None and outcome.error is not None:
                self._notice(f"{outcome.entry.reference} was saved, but {outcome.error.reason}: {outcome.error}")

    def _registry_of_credentials(self, images: ImageList) -> str | None:
        """Return the one registry that the user name and password of the environment are for."""
        if self._options.environment.registries.username is None:
            return None
        registries = sorted({entry.reference.registry for entry in images.entries})
        if self._options.source_registry or len(registries) == 1:
            return self._options.source_registry or registries[0]
        self._notice(
            f"SOURCE_USERNAME is not used: the list names {len(registries)} registries ({', '.join(registries[:3])}); "
            "say which one it is for with --source, or log in to each"
        )
        return None

    def _notice(self, text: str) -> None:
        self._notices.append(text)
        self.observe(Notice(text))


class _Sync(_Save):
    """A run whose output is the cache directory itself, with the images that it held before."""

    def __init__(self, options: SaveOptions, observe: Observer, clock: Clock) -> None:
        super().__init__(options, observe, clock)
        self._existing = Existing()

    async def check(self) -> None:
        await in_thread(check_failed_list, self._options.failed)

    @asynccontextmanager
    async def open_packer(self, store: ContentStore) -> AsyncIterator[Packer]:
        self._existing = await in_thread(read_existing, store.root)
        for text in self._existing.notices:
            self._notice(text)
        yield MergePacker(store, self._options.sync)

    @property
    def output(self) -> None:
        return None

    def indexed(self, images: Sequence[Image]) -> Sequence[Image]:
        return merged(self._existing.images, images)

    def created(self, saved: _Saved) -> Sequence[str]:
        replaced = {image.name for image in saved.images}
        kept = zip(self._existing.images, self._existing.created, strict=True)
        created = [texts for image, texts in kept if image.name not in replaced]
        return [*saved.created, *(text for texts in created for text in texts)]
