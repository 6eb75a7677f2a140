"""`load`: images out of an archive, where it lies, into a registry."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

from hangar_async.blocking import Interrupt, in_thread
from hangar_async.config import MAX_JOBS, LoadOptions
from hangar_async.disk import Disk
from hangar_async.engine.blob_sources import SeekableBlobs
from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.clock import Clock
from hangar_async.engine.destination import check_failed_list
from hangar_async.engine.events import ImageEnded, ImagePlanned, LoadEnded, Notice, Observer, RunStarted, ignore
from hangar_async.engine.governor import Governor
from hangar_async.engine.image_push import ImagePush, PushWishes, outcome_of
from hangar_async.engine.load_report import LoadOutcome, LoadReport
from hangar_async.engine.naming import name_all
from hangar_async.engine.permits import Turn
from hangar_async.engine.pushing import BlobSource, Pushing
from hangar_async.engine.rate import RateLimit
from hangar_async.engine.report import ImageOutcome
from hangar_async.engine.spool import Spool
from hangar_async.engine.stock import Stock, open_stock
from hangar_async.engine.transfers import Sent
from hangar_async.errors import HangarError, the_error
from hangar_async.imagelist import Entry
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.harbor import HarborProjects
from hangar_async.registry.pushing import RegistryPusher

_Named = tuple[HeldImage, Reference]


async def load(options: LoadOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> LoadReport:
    """Push the images of an archive, a cache directory, or any OCI image layout into a registry, byte for byte.

    Blobs are read where they lie; each digest is sent once, and mounted in further repositories. An image that fails
    is an outcome in the report. Raises UsageError before any request, ArchiveError and ContentError for what cannot be
    read, RegistryErrors and NetworkError where the registry takes nothing at all.
    """
    return await _Load(options, observer, clock or Clock()).run()


class _Load:
    def __init__(self, options: LoadOptions, observe: Observer, clock: Clock) -> None:
        self._options = options
        self._observe = observe
        self._clock = clock
        self._notices: list[str] = []
        self._started = time.monotonic()

    async def run(self) -> LoadReport:
        options = self._options
        await in_thread(check_failed_list, options.failed)
        interrupt = Interrupt()
        stock = await interrupt.in_thread(open_stock, options, interrupt)
        named = name_all(stock.images, stock.destination)
        self._observe(RunStarted(len(named), 0 if options.dry_run else options.permits))
        if options.jobs != options.permits:
            self._notice(f"--jobs {options.jobs} is outside of 1 to {MAX_JOBS}: {options.permits} is used")
        self._tell_plan(named)
        if options.dry_run:
            return self._report(tuple(LoadOutcome(*one, "planned") for one in named), Sent())
        try:
            outcomes, sent = await self._push(stock, named)
        except BaseExceptionGroup as group:
            raise the_error(group) from group
        await self._write_failed(outcomes)
        return self._report(outcomes, sent)

    async def _push(self, stock: Stock, named: Sequence[_Named]) -> tuple[tuple[LoadOutcome, ...], Sent]:
        options = self._options
        settings = options.environment.destinations
        governor = Governor(options.permits, settings.retry, self._observe, self._clock)
        registry = stock.destination.registry
        async with RegistryClient(
            settings,
            username_for=registry if settings.username else None,
            connections=options.permits,
            notice=self._notice,
        ) as client:
            pusher = RegistryPusher(client)
            await governor.run(f"the API of {registry}", registry, Turn((0,)), partial(pusher.ping, registry))
            if options.harbor:
                await self._make_projects(client, governor, named)
            async with self._source(stock) as source:
                rate = RateLimit(settings.limit_rate, self._clock)
                pushing = Pushing(pusher, governor, rate, source, self._observe)
                wishes = PushWishes(options.sparse_index, options.platform_tags)
                push = ImagePush(pushing, client, stock.documents, stock.sizes, wishes)
                if isinstance(source, Spool):
                    await source.feed(named, push, pushing)
                return await self._images(named, push), pushing.sent

    @asynccontextmanager
    async def _source(self, stock: Stock) -> AsyncIterator[BlobSource]:
        if stock.seekable is not None:
            yield SeekableBlobs(stock.seekable)
            return
        async with Spool.opened(stock.holdings, self._options.spool, self._options.permits) as spool:
            yield spool

    async def _images(self, named: Sequence[_Named], push: ImagePush) -> tuple[LoadOutcome, ...]:
        """Push all images, in their order as far as they go one after the other."""
        # More than the permits, so that none is idle while an image waits for its last blob.
        abreast = asyncio.Semaphore(2 * self._options.permits)

        async def one(number: int, image: HeldImage, where: Reference) -> LoadOutcome:
            async with abreast:
                try:
                    outcome = await push.push(image, where, number)
                except (HangarError, ExceptionGroup) as error:
                    outcome = outcome_of(image, where, the_error(error))
                for note in outcome.notes:
                    self._notice(f"{where.name}:{where.tag}: {note}")
                self._observe(ImageEnded(ImageOutcome(_entry(number, image), error=outcome.error)))
                return outcome

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number, *image)) for number, image in enumerate(named)]
        return tuple(task.result() for task in tasks)

    async def _make_projects(self, client: RegistryClient, governor: Governor, named: Sequence[_Named]) -> None:
        """Make the projects of Harbor that are missing; a name in Harbor is PROJECT/NAME."""
        options = self._options
        registry = named[0][1].registry if named else ""
        harbor = HarborProjects(client, registry, https=options.harbor_https)
        for project in dict.fromkeys(where.repository.partition("/")[0] for _, where in named):
            what, turn = f"project {project} of {registry}", Turn((0,))
            if not await governor.run(what, registry, turn, partial(harbor.exists, project)):
                await governor.run(what, registry, turn, partial(harbor.create, project, public=options.harbor_public))

    def _tell_plan(self, named: Sequence[_Named]) -> None:
        seen: set[Digest] = set()
        for image, _ in named:
            new = [one for one in image.contents if one.digest not in seen]
            seen.update(one.digest for one in new)
            self._observe(ImagePlanned(image.name, len(image.platforms), len(new), sum(one.size for one in new)))

    async def _write_failed(self, outcomes: Sequence[LoadOutcome]) -> None:
        path = self._options.failed
        if path is None:
            return
        names = [outcome.image.name for outcome in outcomes if not outcome.ok]
        if names:
            await in_thread(Disk().write_file, path, "".join(f"{name}\n" for name in names).encode())
        else:
            await in_thread(Disk().remove, path)

    def _report(self, outcomes: tuple[LoadOutcome, ...], sent: Sent) -> LoadReport:
        report = LoadReport(
            source=self._options.source,
            destination=self._options.where,
            outcomes=outcomes,
            sent=sent,
            seconds=time.monotonic() - self._started,
            dry=self._options.dry_run,
            failed_list=self._options.failed if any(not outcome.ok for outcome in outcomes) else None,
            notices=tuple(self._notices),
        )
        self._observe(LoadEnded(report))
        return report

    def _notice(self, text: str) -> None:
        self._notices.append(text)
        self._observe(Notice(text))


def _entry(number: int, image: HeldImage) -> Entry:
    return Entry(image.reference, number + 1, image.name)
