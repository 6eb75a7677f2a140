"""`save`: images of a list into an archive or a directory; `sync`: into a cache."""

from __future__ import annotations

import os
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from hangar_async import imagelist
from hangar_async.config.options import FetchOptions, SaveOptions, SyncOptions
from hangar_async.config.output import OutputSettings
from hangar_async.disk import Disk
from hangar_async.engine import pack
from hangar_async.engine.events import Notice, Observer, RunEnded, RunStarted, ignore
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.logins import registry_of_login
from hangar_async.engine.outputs import (
    check_destination,
    check_directory,
    check_failed_list,
    check_outputs,
    failed_lines,
    tell_remarks,
    temporary_directory,
    write_failed_list,
)
from hangar_async.engine.pull.fetch import Receiver
from hangar_async.engine.pull.listed import ListFetcher, SavedImages
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.reports import ImageOutcome, Output, Report
from hangar_async.errors import the_error
from hangar_async.filesystem import make_directory
from hangar_async.imagelist import ImageList
from hangar_async.oci import Image
from hangar_async.registry.client import RegistryClient
from hangar_async.spooled import Computed
from hangar_async.store.content import ContentStore, open_store, write_cache
from hangar_async.threads import in_thread


async def save(options: SaveOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> Report:
    """Save the images of a list into one archive, parts of one, or a directory; `clock` times the waits.

    An image that fails is an outcome in the report, not an exception. Cancelling leaves no temporary archive; fetched
    blobs stay in the cache. Raises UsageError before any work starts, StorageError when the output or the cache
    cannot be written; an earlier output is whole then.
    """
    async with reported("save", options, observer) as journal:
        return journal.completed(await _run(_SaveRun(options, journal.observe, clock or Clock())))


async def sync(options: SyncOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> Report:
    """Add the images of a list to a cache directory, whose index keeps all others.

    An image replaces an earlier one of its name. Everything else is as in `save`.
    """
    async with reported("sync", options, observer) as journal:
        return journal.completed(await _run(_SyncRun(options, journal.observe, clock or Clock())))


async def _run(run: _Run) -> Report:
    options = run.options
    images = await in_thread(
        imagelist.read, options.images, options.list_name, options.source_registry, options.chosen_shard
    )
    await in_thread(run.check)
    try:
        report = await run.fetch_all(images)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    run.observe(RunEnded(report))
    return report


class _Run(ABC):
    """One run of a verb that fetches images: into a store, and from there into a packer."""

    def __init__(self, options: FetchOptions, observe: Observer, clock: Clock) -> None:
        self.options = options
        self.observe = observe
        self._clock = clock
        self._notices: list[str] = []
        self.disk = Disk()
        self._started = time.monotonic()

    @abstractmethod
    def check(self) -> None:
        """Set the paths that are written to; raises UsageError when one cannot be. Synchronous, for a thread."""

    @abstractmethod
    def open_cache(self) -> AbstractAsyncContextManager[Path]:
        """Name the cache directory of the run."""

    @abstractmethod
    def open_packer(self, store: ContentStore) -> AbstractAsyncContextManager[pack.Packer]:
        """Open the packer that takes the images."""

    @property
    def output(self) -> OutputSettings | None:
        """The output that is written beside the cache; None for none."""
        return None

    @property
    def keeps_cache(self) -> bool:
        """True where the cache itself becomes the output."""
        return self.output is None or self.output.format == "dir"

    def created(self, saved: SavedImages) -> Sequence[str]:
        """Return the creation times of the images that the index names, or the newest of them."""
        return [saved.newest.isoformat()]

    async def validated(
        self, outcomes: Sequence[ImageOutcome], output: Output, client: LimitedClient
    ) -> Sequence[ImageOutcome] | None:
        """Compare the output with its source where the options say so; an image that differs has failed."""
        return None

    async def fetch_all(self, images: ImageList) -> Report:
        """Fetch the images of a list, and pack them."""
        options = self.options
        planned = Computed(images.entries, ImageOutcome)
        self.observe(RunStarted(len(planned), options.limits.requests, planned))
        registries = {entry.reference.registry for entry in images.entries}
        registry = registry_of_login(
            options.environment.registries,
            registries,
            options.source_registry,
            "SOURCE_USERNAME",
            "--source",
            self.notice,
        )
        if note := options.limits.note(options.jobs):
            self.notice(note)
        if self.output is not None and self.output.remark:
            self.notice(self.output.remark)
        for line in images.invalid:
            self.notice(str(line))
        settings = options.environment.registries
        async with (
            self.open_cache() as cache,
            open_store(cache, self.disk, write_back=options.sync and self.keeps_cache) as store,
            RegistryClient(
                settings,
                username_for=registry,
                named=registries,
                connections=options.limits.requests,
                notice=self.notice,
            ) as registry_client,
        ):
            registry_client.expect(entry.reference for entry in images.entries)
            retrier = Retrier(options.limits, settings.retry, self.observe, self._clock)
            client = LimitedClient(registry_client, retrier, len(images.entries))
            receiver = Receiver(client, RateLimit(settings.limit_rate, self._clock), self.observe)
            tell_remarks(self.disk, self.notice)
            async with self.open_packer(store) as packer:
                fetcher = ListFetcher(options, self.output, self.observe, self.notice, self.disk)
                saved = await fetcher.fetch(images.entries, store, receiver, packer)
                if not saved.outcomes.failed:
                    await store.forget_partials()
                output = await self._finish(saved, store, packer)
            for pattern in options.unmatched(saved.images):
                self.notice(f"no image has the architecture {pattern} (--arch)")
            outcomes = saved.outcomes.sequence()
            validated = None if output is None else await self.validated(outcomes, output, client)
        outcomes = outcomes if validated is None else validated
        failed = failed_lines((outcome.entry.text, outcome.error) for outcome in outcomes)
        invalid = [line.comment for line in images.invalid]
        failed_list = await write_failed_list(options.failed, [*failed, *invalid], self.notice, self.disk)
        tell_remarks(self.disk, self.notice)
        ended = time.monotonic()
        return Report(
            outcomes=outcomes,
            invalid=images.invalid,
            duplicates=images.duplicates,
            traffic=receiver.traffic,
            output=output,
            seconds=ended - self._started,
            tail_seconds=ended - fetcher.last_image_at,
            validated=validated is not None,
            lenient=options.lenient,
            failed_list=failed_list,
            effort=client.usage.meters.effort(self.disk.times, registry_client.moved),
            notices=tuple(self._notices),
            quotas=client.quotas,
        )

    async def _finish(self, saved: SavedImages, store: ContentStore, packer: pack.Packer) -> Output | None:
        if not saved.images:
            return None
        moment = pack.saved_time(self.options.environment.source_date_epoch, self.created(saved))
        await self.write_index(store, saved.images, moment)
        outcomes = saved.outcomes.sequence() if saved.outcomes.failed else ()
        failed = [outcome.entry.reference.cache_name for outcome in outcomes if not outcome.ok]
        return await packer.finish(saved.images, moment, failed)

    async def write_index(
        self, store: ContentStore, images: Sequence[Image], saved: datetime, *, sync: bool = False
    ) -> None:
        """Write the index of the cache; with `sync` it is on the disk before it replaces an earlier one."""
        if not await write_cache(store, images, saved, sync=sync):
            self.notice(f"the file system of {store.root} has no links: other tools read it only image by image")

    def notice(self, text: str) -> None:
        self._notices.append(text)
        self.observe(Notice(text))


class _SaveRun(_Run):
    """A run whose output is an archive, parts of one, or a directory."""

    def __init__(self, options: SaveOptions, observe: Observer, clock: Clock) -> None:
        super().__init__(options, observe, clock)
        self._save_options = options
        self._output = options.output

    def check(self) -> None:
        self._output = check_destination(self._save_options)
        self.options = replace(self.options, failed=check_failed_list(self.options.failed))

    @asynccontextmanager
    async def open_cache(self) -> AsyncIterator[Path]:
        if self._save_options.cache is not None:
            # A link to a cache stays, and the directory that it leads to is moved.
            yield Path(await in_thread(os.path.realpath, self._save_options.cache))
            return
        # Beside the output: it has the space, and a rename can put a directory in its place.
        async with temporary_directory(self.output.target.parent, "hangar-async", self.disk) as cache:
            yield cache

    def open_packer(self, store: ContentStore) -> AbstractAsyncContextManager[pack.Packer]:
        return pack.open_packer(self.output, store, self.observe)

    @property
    def output(self) -> OutputSettings:
        return self._output

    async def validated(
        self, outcomes: Sequence[ImageOutcome], output: Output, client: LimitedClient
    ) -> Sequence[ImageOutcome] | None:
        if not self._save_options.validate:
            return None
        from hangar_async.engine.validate import compare_saved  # with the readers of archives, which few runs need

        mirrors = self.options.environment.registries.mirrors
        outcomes = await compare_saved(outcomes, output.path, client, mirrors)
        for outcome in outcomes:
            if outcome.image is not None and outcome.error is not None:
                self.notice(f"{outcome.entry.reference} was saved, but {outcome.error.reason}: {outcome.error}")
        return outcomes


class _SyncRun(_Run):
    """A run whose output is the cache directory itself, with the images that it held before."""

    def __init__(self, options: SyncOptions, observe: Observer, clock: Clock) -> None:
        super().__init__(options, observe, clock)
        self._cache = options.cache

    def check(self) -> None:
        check_outputs([self.options.failed], [self.options.images])
        self._cache = check_directory(self._cache, "-d")
        self.options = replace(self.options, failed=check_failed_list(self.options.failed))

    @asynccontextmanager
    async def open_cache(self) -> AsyncIterator[Path]:
        if self.options.sync:
            await in_thread(make_directory, self._cache, self.disk, 0o700)
        yield self._cache

    @asynccontextmanager
    async def open_packer(self, store: ContentStore) -> AsyncIterator[pack.Packer]:
        from hangar_async.engine import merge  # for this verb alone

        self._existing = await in_thread(merge.read_existing, store.root)
        for text in self._existing.notices:
            self.notice(text)
        self._packer = merge.MergePacker(store, self.options.sync, self._existing)
        yield self._packer

    async def write_index(
        self, store: ContentStore, images: Sequence[Image], saved: datetime, *, sync: bool = False
    ) -> None:
        # An index on the disk names only what is on the disk.
        await self._packer.sync()
        await super().write_index(store, self._existing.with_new(images), saved, sync=self.options.sync)

    def created(self, saved: SavedImages) -> Sequence[str]:
        names = {image.name for image in self._existing.images}
        replaced = {image.name for image in saved.images if image.name in names}
        kept = zip(self._existing.images, self._existing.created, strict=True)
        created = [texts for image, texts in kept if image.name not in replaced]
        return [*super().created(saved), *(text for texts in created for text in texts)]
