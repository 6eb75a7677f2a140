"""An errand to a registry with all images of a source: what pushing and comparing have in common."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias, TypeVar

from hangar_async.config.options import LoadOptions
from hangar_async.config.registries import MAX_JOBS
from hangar_async.disk import Disk
from hangar_async.engine.events import ImageEnded, Notice, Observer, RunStarted
from hangar_async.engine.failed_list import check_failed_list
from hangar_async.engine.limits.clock import Clock
from hangar_async.engine.limits.queue import Ticket
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.push.selection import Selection, name_all, open_selection
from hangar_async.engine.reports import ImageOutcome
from hangar_async.errors import HangarError, the_error
from hangar_async.imagelist import Entry
from hangar_async.layout.images import HeldImage
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.threads import Interrupt, in_thread

_T = TypeVar("_T")
Named: TypeAlias = tuple[HeldImage, Reference]
#: What is done with one image: its place in the order, the image, and where it belongs.
Work: TypeAlias = Callable[[int, HeldImage, Reference], Awaitable[_T]]


class LoadRun:
    """The images that options choose, each with its name at the registry, and the way there."""

    def __init__(self, options: LoadOptions, observe: Observer, clock: Clock, selection: Selection) -> None:
        self.options = options
        self.observe = observe
        self.clock = clock
        self.selection = selection
        self.named: Sequence[Named] = name_all(selection.images, selection.destination)
        self.registry = selection.destination.registry
        self.retrier = Retrier(options.permits, options.environment.destinations.retry, observe, clock)
        self.notices: list[str] = []
        self._started = time.monotonic()

    @classmethod
    async def prepare(cls, options: LoadOptions, observe: Observer, clock: Clock) -> LoadRun:
        """Read what there is, and name it; raises UsageError, ArchiveError, ContentError and StorageError."""
        await in_thread(check_failed_list, options.failed)
        interrupt = Interrupt()
        run = cls(options, observe, clock, await interrupt.in_thread(open_selection, options, interrupt))
        observe(RunStarted(len(run.named), 0 if options.dry_run else options.permits))
        if options.jobs != options.permits:
            run.notice(f"--jobs {options.jobs} is outside of 1 to {MAX_JOBS}: {options.permits} is used")
        return run

    @asynccontextmanager
    async def client(self) -> AsyncIterator[RegistryClient]:
        """Open a client for the registry; raises RegistryErrors and NetworkError where it takes nothing at all."""
        settings = self.options.environment.destinations
        async with RegistryClient(
            settings,
            username_for=self.registry if settings.username else None,
            connections=self.options.permits,
            notice=self.notice,
        ) as client:
            ask = partial(client.ping, self.registry)
            await self.retrier.run(f"the API of {self.registry}", self.registry, Ticket((0,)), ask)
            yield client

    async def each(self, work: Work[_T], failed: Callable[[HeldImage, Reference, HangarError], _T]) -> tuple[_T, ...]:
        """Do the work on all images, in their order as far as they go one after the other.

        What becomes of an image whose work raised a HangarError is what `failed` makes of it.
        """
        # More than the permits, so that none is idle while an image waits for its last request.
        abreast = asyncio.Semaphore(2 * self.options.permits)

        async def one(number: int, image: HeldImage, where: Reference) -> _T:
            async with abreast:
                error = None
                try:
                    result = await work(number, image, where)
                except (HangarError, ExceptionGroup) as group:
                    error = the_error(group)
                    result = failed(image, where, error)
                entry = Entry(image.reference, number + 1, image.name)
                self.observe(ImageEnded(ImageOutcome(entry, error=error)))
                return result

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(number, *named)) for number, named in enumerate(self.named)]
        return tuple(task.result() for task in tasks)

    async def write_failed(self, images: Iterable[HeldImage]) -> None:
        """Keep the names of failed images where the next run can take them up; raises StorageError."""
        path = self.options.failed
        names = "".join(f"{image.name}\n" for image in images)
        if path is not None and names:
            await in_thread(Disk().write_file, path, names.encode())
        elif path is not None:
            await in_thread(Disk().remove, path)

    def notice(self, text: str) -> None:
        """Tell what a person should know."""
        self.notices.append(text)
        self.observe(Notice(text))

    @property
    def seconds(self) -> float:
        """How long it has been under way."""
        return time.monotonic() - self._started
