"""`save`: images of a list into an archive or a directory."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from hangar_async import imagelist
from hangar_async.config.options import SaveOptions
from hangar_async.config.output import OutputSettings
from hangar_async.config.registries import MAX_JOBS
from hangar_async.disk import Disk
from hangar_async.engine.events import ImageEnded, Notice, Observer, QuotaTold, RunEnded, RunStarted, ignore
from hangar_async.engine.failed_list import check_failed_list
from hangar_async.engine.limits.clock import Clock, RateLimit
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.pack.checks import check_destination
from hangar_async.engine.pack.merge import Existing, MergePacker, merged, read_existing
from hangar_async.engine.pack.packers import Packer, open_packer, saved_time
from hangar_async.engine.pull.fetch import Fetcher
from hangar_async.engine.pull.image import Images, Kept
from hangar_async.engine.pull.plan import Planner
from hangar_async.engine.pull.receive import Receiver
from hangar_async.engine.pull.space import SpaceCheck
from hangar_async.engine.reports import ImageOutcome, Output, Report
from hangar_async.engine.validate import compare_saved
from hangar_async.errors import the_error
from hangar_async.imagelist import ImageList
from hangar_async.layout.files import SavedImage
from hangar_async.registry.client import RegistryClient
from hangar_async.store.content import ContentStore, open_store, write_cache
from hangar_async.threads import in_thread


async def save(options: SaveOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> Report:
    """Save the images of a list into one archive, parts of one, or a directory; `clock` is what waits go by.

    An image that fails is an outcome in the report, not an exception. Cancelling leaves no temporary archive behind;
    what was fetched stays in the cache. Raises UsageError before any work starts, StorageError when the output or
    the cache cannot be written; an earlier output is whole then.
    """
    return await _run(_Run(options, observer, clock or Clock()), options)


async def sync(options: SaveOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> Report:
    """Bring more images of a list into an existing cache directory, `options.cache`, whose index keeps all others.

    An image of a name that is there already takes its place. Format, destination and parts say nothing here. As for
    the rest this is `save`.
    """
    return await _run(_Merge(options, observer, clock or Clock()), options)


async def _run(run: _Run, options: SaveOptions) -> Report:
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
    """What the walk over the list has collected."""

    outcomes: list[ImageOutcome]
    images: list[SavedImage]
    created: list[str]


class _Run:
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
        """Open what takes the images."""
        return open_packer(self._options.output, store, self.observe)

    @property
    def output(self) -> OutputSettings | None:
        """What is written beside the cache."""
        return self._options.output

    def indexed(self, images: Sequence[SavedImage]) -> Sequence[SavedImage]:
        """What the index of the cache is to name when these images are saved."""
        return images

    def created(self, saved: _Saved) -> Sequence[str]:
        """When the images that the index is to name were made."""
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
        retrier = Retrier(options.permits, settings.retry, self.observe, self._clock)
        async with (
            open_store(options.cache) as store,
            RegistryClient(
                settings,
                username_for=registry,
                connections=options.permits,
                notice=self._notice,
                quota=lambda host, quota: self.observe(QuotaTold(host, quota.remaining, quota.limit, quota.window)),
            ) as client,
        ):
            receiver = Receiver(client, retrier, RateLimit(settings.limit_rate, self._clock), self.observe)
            async with self.open_packer(store) as packer:
                space = SpaceCheck(options.cache, self.output, lambda: receiver.received, lambda: packer.written)
                saved = await self._images(images, store, receiver, retrier, packer, space)
                if all(outcome.ok for outcome in saved.outcomes):
                    await store.forget_partials()
                output = await self._finish(saved, store, packer)
            if options.validate and output is not None:
                await self._validate(saved, output, client, retrier)
        await self._write_failed(saved.outcomes)
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
            failed_list=options.failed if any(not outcome.ok for outcome in saved.outcomes) else None,
            notices=tuple(self._notices),
        )

    async def _images(
        self,
        images: ImageList,
        store: ContentStore,
        receiver: Receiver,
        retrier: Retrier,
        packer: Packer,
        space: SpaceCheck,
    ) -> _Saved:
        """Bring in all images at once, and pack each as soon as those before it in the list are done."""
        saved = _Saved([], [], [])
        options = self._options
        mirrors = options.environment.registries.mirrors
        async with asyncio.TaskGroup() as group:
            fetcher = Fetcher(group, receiver, store, retrier, len(images.entries), mirrors)
            planner = Planner(fetcher, store, options.selector, options.include_foreign)
            work = Images(fetcher, planner, store, space, self.observe)
            tasks = [group.create_task(work.keep(entry, number)) for number, entry in enumerate(images.entries)]
            for task in tasks:
                task.add_done_callback(self._ended)
            for task in tasks:
                kept = await task
                saved.outcomes.append(kept.outcome)
                if kept.outcome.image is not None:
                    await packer.add(kept.outcome.image, kept.contents)
                    saved.images.append(kept.outcome.image)
                    saved.created.extend(kept.created)
        return saved

    def _ended(self, task: asyncio.Task[Kept]) -> None:
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

    async def _validate(self, saved: _Saved, output: Output, client: RegistryClient, retrier: Retrier) -> None:
        """Compare what was written with its source; what differs has failed."""
        mirrors = self._options.environment.registries.mirrors
        saved.outcomes = await compare_saved(saved.outcomes, output.path, client, retrier, mirrors)
        for outcome in saved.outcomes:
            if outcome.image is not None and outcome.error is not None:
                self._notice(f"{outcome.entry.reference} was saved, but {outcome.error.reason}: {outcome.error}")

    async def _write_failed(self, outcomes: Sequence[ImageOutcome]) -> None:
        """Keep the lines of failed images, as they were written, where the next run can take them up."""
        path = self._options.failed
        if path is None:
            return
        lines = [outcome.entry.text for outcome in outcomes if not outcome.ok]
        if lines:
            await in_thread(Disk().write_file, path, "".join(f"{line}\n" for line in lines).encode())
        else:
            await in_thread(Disk().remove, path)

    def _registry_of_credentials(self, images: ImageList) -> str | None:
        """Tell which registry the user name and password of the environment are for; they go to no other."""
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


class _Merge(_Run):
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

    def indexed(self, images: Sequence[SavedImage]) -> Sequence[SavedImage]:
        return merged(self._existing.images, images)

    def created(self, saved: _Saved) -> Sequence[str]:
        replaced = {image.reference.cache_name for image in saved.images}
        kept = zip(self._existing.images, self._existing.created, strict=True)
        stays = [texts for image, texts in kept if image.reference.cache_name not in replaced]
        return [*saved.created, *(text for texts in stays for text in texts)]
