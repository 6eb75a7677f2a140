"""The part of a mirror that runs at the workers of a cluster: blobs, manifests and tags."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from distributed import Reschedule, Worker, WorkerPlugin, get_worker

from hangar_async import __version__
from hangar_async.config.environment import Environment
from hangar_async.engine.cluster.messages import (
    Beat,
    BlobTask,
    Holder,
    ImageResult,
    ImageTask,
    Reply,
    Taken,
    WorkerSettings,
    decode,
    encode,
)
from hangar_async.engine.copy.executor import copy_planned
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import Event
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import blob_rank
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.reports import Sent
from hangar_async.errors import HangarError, RegistryError, the_error
from hangar_async.oci import Descriptor, Reference
from hangar_async.state.hints import State

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
#: The seconds after which a task that came to a worker without its settings goes to another one.
_ELSEWHERE = 0.5
#: The sides of the coordinators in this process, by run: their local workers use these.
LOCAL_SIDES: dict[str, Sides] = {}


def plugin_name(run: str) -> str:
    """Return the name of the plugin of a run."""
    return f"hangar-async-{run}"


class _Hints(State):
    """The hints of the coordinator for the blobs that are being brought."""

    def __init__(self) -> None:
        super().__init__()
        self.holders: dict[tuple[str, str], str] = {}

    async def holder(self, image: Reference, blob: Descriptor) -> str | None:
        return self.holders.get((image.registry, str(blob.digest)))


class MirrorWorker(WorkerPlugin):  # type: ignore[misc]
    """The state of a run at a worker: its clients and limits, and the tasks that are under way."""

    def __init__(self, run: str, settings: bytes) -> None:
        self.name = plugin_name(run)
        self._run = run
        self._settings = settings

    async def setup(self, worker: Worker) -> None:
        """Open the clients; a worker of another release keeps a refusal instead."""
        self._worker = worker
        self._tasks: dict[Any, asyncio.Task[Any]] = {}
        self._events: list[Event] = []
        self._hints = _Hints()
        self._stopped = asyncio.Event()
        self._life: asyncio.Task[None] | None = None
        self.sides: Sides | None = LOCAL_SIDES.get(self._run)
        self.refusal = ""
        self._is_local = self.sides is not None
        if self._is_local:
            return
        try:
            await self._open()
        except Exception as error:
            _log.debug("refused", exc_info=True)
            self.refusal = str(error)

    async def _open(self) -> None:
        settings: WorkerSettings = decode(self._settings)
        if settings.release != __version__:
            self.refusal = f"it has release {__version__}, and the coordinator {settings.release}"
            return
        opened: asyncio.Future[Sides] = asyncio.get_running_loop().create_future()
        self._life = asyncio.create_task(self._live(settings, opened))
        waits: list[asyncio.Future[Any]] = [self._life, opened]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        if not opened.done():
            await self._life
        self.sides = opened.result()

    async def _live(self, settings: WorkerSettings, opened: asyncio.Future[Sides]) -> None:
        """Hold the clients open, in one task from the begin to the end, until the worker stops."""
        environment = Environment.read()
        sources, targets = (
            replace(
                one,
                retry=settings.retry,
                stall_timeout=settings.stall_timeout,
                tls_verify=settings.tls_verify,
                mirrors=settings.mirrors,
            )
            for one in (environment.registries, environment.destinations)
        )
        options = replace(settings.options, environment=replace(environment, registries=sources, destinations=targets))
        observe, notice = self._events.append, _log.warning
        async with Sides.between(
            options, settings.registries, observe, notice, Clock(), self._hints, settings.images
        ) as sides:
            opened.set_result(sides)
            await self._stopped.wait()

    async def teardown(self, worker: Worker) -> None:
        """End all tasks, and close the clients."""
        await self.stop()
        self._stopped.set()
        if self._life is not None:
            await asyncio.wait([self._life])

    async def stop(self) -> None:
        """End the tasks that are under way; dask does not end the coroutine of a task that is cancelled."""
        for task in self._tasks.values():
            task.cancel()
        if self._tasks:
            await asyncio.wait([*self._tasks.values()])

    def transition(self, key: Any, start: str, finish: str, **_: Any) -> None:
        """End the coroutine of a task that the scheduler needs no more, also where the coordinator is gone."""
        if finish in ("released", "forgotten", "cancelled") and (task := self._tasks.get(key)) is not None:
            task.cancel()

    async def carry_out(self, payload: bytes, holders: Sequence[Holder]) -> Any:
        """Do a task, in a task of its own that can be ended."""
        task: BlobTask | ImageTask = decode(payload)
        if isinstance(task, BlobTask):
            return await self._apart(task.key, lambda: self._blob(task))
        return await self._apart(task.key, lambda: self._image(task, holders))

    async def _apart(self, key: Any, work: Callable[[], Awaitable[_T]]) -> _T:
        async def run() -> _T:
            return await work()

        task = asyncio.create_task(run())
        self._tasks[key] = task
        try:
            await asyncio.wait([task])
        finally:
            # The clients are closed when no task is left.
            task.cancel()
            await asyncio.wait([task])
            self._tasks.pop(key, None)
        if task.cancelled():
            raise RuntimeError("the task was ended")
        return task.result()

    @property
    def _opened(self) -> Sides:
        assert self.sides is not None  # noqa: S101 - `carry_out` of the module asks
        return self.sides

    async def _blob(self, task: BlobTask) -> Holder:
        """Bring a blob to the repository of its image; a failure is left to the images that need it."""
        sides, blob, target = self._opened, task.blob, task.target
        sides.expect([(task.source, target)], push=True)
        sides.blobs.offer([blob], task.source)
        pusher = sides.targets[target.registry].blobs
        pusher.note_new(target.repository, is_new=task.is_new)
        if task.hint is not None:
            self._hints.holders[target.registry, str(blob.digest)] = task.hint
        try:
            await pusher.push(target, blob, blob_rank(task.number, blob.size))
        except (HangarError, ExceptionGroup) as group:
            _log.debug("blob %s is not brought: %s", blob.digest, the_error(group))
            return None
        finally:
            self._hints.holders.pop((target.registry, str(blob.digest)), None)
        return target.repository, pusher.has_sent(blob)

    async def _image(self, task: ImageTask, holders: Sequence[Holder]) -> bytes:
        """Bring an image to its target, where its blobs are already."""
        sides, work = self._opened, task.work
        sides.expect([(work.source, work.target)], push=True)
        pusher = sides.targets[work.target.registry].blobs
        pusher.note_new(work.target.repository, is_new=task.is_new)
        note_holders(pusher, dict(zip(task.blobs, (*holders, *task.known), strict=True)))
        outcome, error = None, None
        try:
            copied = await copy_planned(sides, work)
            outcome = replace(copied, image=copied.image.without_contents())
        except (HangarError, ExceptionGroup) as group:
            error = the_error(group)
        return encode(ImageResult(outcome, error, tuple(holders), self.take()))

    def take(self) -> Taken:
        """Return what was done since the last call; nothing where the coordinator sees it itself."""
        if self._is_local or self.sides is None:
            return Taken()
        events = tuple(self._events)
        self._events.clear()
        sent = {}
        for name, target in self.sides.targets.items():
            sent[name], target.blobs.sent = target.blobs.sent, Sent()
        return Taken(events, sent, self.sides.client.usage.take())

    def beat(self, message: Beat) -> Reply:
        """Take the news of the coordinator, and tell those of this worker."""
        if self.sides is not None and not self._is_local:
            for host, (seconds, reason) in message.closed.items():
                self.sides.hosts.host(host).pause(seconds, RegistryError(reason, host=host, status=429))
            self.sides.rate.rate = message.rate
        return Reply(self.take(), self._worker.state.nthreads, self.refusal)


def note_holders(pusher: BlobPusher, holders: Mapping[Descriptor, Holder]) -> None:
    """Note which repositories have blobs that other tasks have brought."""
    for blob, holder in holders.items():
        if holder is not None:
            repository, is_sent = holder
            pusher.holds(repository, [blob])
            if is_sent:
                pusher.note_sent(blob)


def _plugin(worker: Worker, run: str) -> MirrorWorker | None:
    found: MirrorWorker | None = worker.plugins.get(plugin_name(run))
    return found


async def carry_out(run: str, payload: bytes, holders: Sequence[Holder]) -> Any:
    """Do a task of a run at the worker that has it; one that has no settings of the run gives it back."""
    plugin = _plugin(get_worker(), run)
    if plugin is None or plugin.sides is None:
        await asyncio.sleep(_ELSEWHERE)
        raise Reschedule
    return await plugin.carry_out(payload, holders)


async def beat(run: str, message: bytes, dask_worker: Worker) -> bytes:
    """Exchange news with a worker."""
    plugin = _plugin(dask_worker, run)
    if plugin is None:
        return encode(Reply(Taken(), dask_worker.state.nthreads))
    return encode(plugin.beat(decode(message)))


async def stop(run: str, dask_worker: Worker) -> bytes:
    """End the tasks of a run at a worker, and return the last news."""
    if (plugin := _plugin(dask_worker, run)) is None:
        return encode(Reply(Taken(), 0))
    await plugin.stop()
    return encode(plugin.beat(Beat({}, None)))
