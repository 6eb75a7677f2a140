"""A run over the images of a layout against one registry: the common part of load and load-validate."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TypeAlias, TypeVar

from hangar_async.config.options import LoadOptions
from hangar_async.config.registries import MAX_JOBS
from hangar_async.engine.events import ImageEnded, Notice, Observer, RunStarted
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.clock import Clock
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.outputs import check_failed_list, write_failed_list
from hangar_async.engine.push.selection import Selection, open_selection
from hangar_async.engine.reports import ImageOutcome
from hangar_async.errors import HangarError, the_error
from hangar_async.imagelist import Entry
from hangar_async.oci.image import Image
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.threads import Interrupt, in_thread

_T = TypeVar("_T")
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
        self._started = time.monotonic()

    @classmethod
    async def prepare(cls, options: LoadOptions, observe: Observer, clock: Clock) -> LoadRun:
        """Read and name the images; raises UsageError, ArchiveError, ContentError and StorageError."""
        await in_thread(check_failed_list, options.failed)
        interrupt = Interrupt()
        run = cls(options, observe, clock, await interrupt.in_thread(open_selection, options, interrupt))
        observe(RunStarted(len(run.selection.images), 0 if options.dry_run else options.permits))
        if options.jobs != options.permits:
            run.notice(f"--jobs {options.jobs} is outside of 1 to {MAX_JOBS}: {options.permits} is used")
        return run

    @asynccontextmanager
    async def clients(self) -> AsyncIterator[tuple[RegistryClient, LimitedClient]]:
        """Open the client of the registry; raises RegistryErrors and NetworkError where it does not answer at all."""
        settings = self.options.environment.destinations
        registry = self.selection.registry
        retrier = Retrier(self.options.permits, settings.retry, self.observe, self.clock)
        async with RegistryClient(
            settings,
            username_for=registry if settings.username else None,
            connections=self.options.permits,
            notice=self.notice,
        ) as registry_client:
            client = LimitedClient(registry_client, retrier)
            await client.ping(registry)
            yield registry_client, client

    async def each(self, work: Work[_T], failed: Callable[[Image, Reference, HangarError], _T]) -> tuple[_T, ...]:
        """Do the work on all images, and return the results in their order.

        The result of an image whose work raised a HangarError is made by `failed`.
        """
        # More than the permits, so that none is idle while an image waits for its last request.
        images_at_once = asyncio.Semaphore(2 * self.options.permits)

        async def work_on(number: int, image: Image, target: Reference) -> _T:
            async with images_at_once:
                error = None
                try:
                    result = await work(number, image, target)
                except (HangarError, ExceptionGroup) as group:
                    error = the_error(group)
                    result = failed(image, target, error)
                entry = Entry(image.reference, number + 1, image.name)
                self.observe(ImageEnded(ImageOutcome(entry, error=error)))
                return result

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work_on(number, *named)) for number, named in enumerate(self.selection.images)]
        return tuple(task.result() for task in tasks)

    async def write_failed_list(self, failed: list[Image]) -> Path | None:
        """Write the names of failed images, for the next run; raises StorageError."""
        return await in_thread(write_failed_list, self.options.failed, [image.name for image in failed])

    def notice(self, text: str) -> None:
        """Report something that a person should know."""
        self.notices.append(text)
        self.observe(Notice(text))

    @property
    def seconds(self) -> float:
        """The time since the start of the run."""
        return time.monotonic() - self._started
