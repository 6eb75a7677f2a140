"""An errand to a registry with all images of a source: what pushing and comparing have in common."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TypeAlias, TypeVar

from hangar_async.blocking import Interrupt, in_thread
from hangar_async.config import MAX_JOBS, LoadOptions
from hangar_async.disk import Disk
from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.clock import Clock
from hangar_async.engine.destination import check_failed_list
from hangar_async.engine.events import ImageEnded, Notice, Observer, RunStarted
from hangar_async.engine.governor import Governor
from hangar_async.engine.naming import name_all
from hangar_async.engine.permits import Turn
from hangar_async.engine.report import ImageOutcome
from hangar_async.engine.stock import Stock, open_stock
from hangar_async.errors import HangarError, the_error
from hangar_async.imagelist import Entry
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.pushing import RegistryPusher

_T = TypeVar("_T")
Named: TypeAlias = tuple[HeldImage, Reference]
#: What is done with one image: its place in the order, the image, and where it belongs.
Work: TypeAlias = Callable[[int, HeldImage, Reference], Awaitable[_T]]


class Errand:
    """The images that options choose, each with its name at the registry, and the way there."""

    def __init__(self, options: LoadOptions, observe: Observer, clock: Clock, stock: Stock) -> None:
        self.options = options
        self.observe = observe
        self.clock = clock
        self.stock = stock
        self.named: Sequence[Named] = name_all(stock.images, stock.destination)
        self.registry = stock.destination.registry
        self.governor = Governor(options.permits, options.environment.destinations.retry, observe, clock)
        self.notices: list[str] = []
        self._started = time.monotonic()

    @classmethod
    async def prepare(cls, options: LoadOptions, observe: Observer, clock: Clock) -> Errand:
        """Read what there is, and name it; raises UsageError, ArchiveError, ContentError and StorageError."""
        await in_thread(check_failed_list, options.failed)
        interrupt = Interrupt()
        errand = cls(options, observe, clock, await interrupt.in_thread(open_stock, options, interrupt))
        observe(RunStarted(len(errand.named), 0 if options.dry_run else options.permits))
        if options.jobs != options.permits:
            errand.notice(f"--jobs {options.jobs} is outside of 1 to {MAX_JOBS}: {options.permits} is used")
        return errand

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
            ask = partial(RegistryPusher(client).ping, self.registry)
            await self.governor.run(f"the API of {self.registry}", self.registry, Turn((0,)), ask)
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
