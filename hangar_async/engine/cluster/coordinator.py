"""The coordinator of a cluster: it sends the work of planned copies to workers, and hears from them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager, nullcontext
from typing import Any

from distributed import Client, KilledWorker

from hangar_async.engine.cluster.batches import Batches
from hangar_async.engine.cluster.messages import (
    Beat,
    BlobTask,
    Holder,
    ImageResult,
    ImageTask,
    Reply,
    Taken,
    decode,
    encode,
)
from hangar_async.engine.cluster.worker import beat, carry_out, note_holders, stop
from hangar_async.engine.cluster.workers import Workers
from hangar_async.engine.copy.executor import PlannedCopy, copy_planned
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import HostClosed, Observer
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import Ticket, planning_rank
from hangar_async.engine.reports import LoadOutcome
from hangar_async.errors import NetworkError, RegistryError
from hangar_async.oci import Descriptor, Digest, Document, Manifest, Reference, documents_below, referrer_of
from hangar_async.tasks import each

#: Images that are planned or at workers at the same time: enough for many workers, and little memory.
_IMAGES_AT_ONCE = 500
#: The seconds between two messages to the workers.
_BEAT = 1.0
#: The manifests of one image that are looked for at once.
_LOOKED_FOR = 10
#: The seconds that workers have to end their tasks.
_END = 10.0


class ClusterExecutor:
    """Sends blobs and images to the workers of a cluster as tasks; each blob of a registry is one task of the run.

    An image is a task that waits for those of its blobs. Blobs are mounted into further repositories by the images.
    """

    images_at_once = _IMAGES_AT_ONCE

    def __init__(
        self, client: Client, run: str, sides: Sides, observe: Observer, workers: Workers, clock: Clock
    ) -> None:
        self._client = client
        self._run = run
        self._sides = sides
        self._observe = observe
        self._workers = workers
        self._clock = clock
        #: The repository of each blob that the run has brought, and the tasks of those that are on their way.
        self._holders: dict[tuple[str, Digest], Holder] = {}
        self._under_way: dict[tuple[str, Digest], asyncio.Task[Any]] = {}
        self._batches = Batches(client, carry_out, run)
        self._group = asyncio.TaskGroup()
        #: Lists of referrers are read and written: images with referrers come into a repository one by one.
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[ClusterExecutor]:
        """Hear from the workers during the block, and end their work behind it."""
        async with self._group:
            watch = self._group.create_task(self._watch())
            try:
                yield self
            finally:
                watch.cancel()
                await self._end()

    async def copy(self, work: PlannedCopy) -> LoadOutcome:
        """Bring an image to its target; raises HangarError."""
        target, rank = work.target, planning_rank(work.number)
        pusher = self._sides.targets[target.registry].blobs
        if work.existing is None:
            await pusher.look(target, rank)
        is_new = pusher.is_new(target.repository)
        blobs = () if work.is_within else await self._missing(work, is_new=is_new)
        brought, known = await self._blobs(work, blobs, is_new=is_new)
        if work.admission is not None:
            return await self._copy_here(work, brought, known)
        key = ("image", target.registry, target.repository, target.tag_or_digest, str(work.number), self._run)
        payload = encode(ImageTask(key, work, (*brought, *known), tuple(known.values()), is_new))
        is_alone = bool(work.referrers) or any(map(referrer_of, _documents(work)))
        async with self._locks[target.name] if is_alone else nullcontext():
            task = await self._batches.submit(payload, key, tuple(brought.values()))
            result: ImageResult = decode(await self._result(task, str(target)))
        self._heard(result.taken)
        await self._note(target, tuple(brought), result.holders)
        if result.error is not None:
            raise result.error
        assert result.outcome is not None  # noqa: S101 - without an error there is an outcome
        return result.outcome

    async def _copy_here(
        self, work: PlannedCopy, brought: Mapping[Descriptor, Any], known: Mapping[Descriptor, Holder]
    ) -> LoadOutcome:
        """Put the manifests and the tag of an image that is judged here, when workers have brought its blobs."""
        results = await asyncio.gather(*(self._result(task, str(work.target)) for task in brought.values()))
        await self._note(work.target, tuple(brought), tuple(results))
        pusher = self._sides.targets[work.target.registry].blobs
        note_holders(pusher, {**dict(zip(brought, results, strict=True)), **known})
        return await copy_planned(self._sides, work)

    async def _missing(self, work: PlannedCopy, *, is_new: bool) -> tuple[Descriptor, ...]:
        """Return the blobs of an image without those of manifests that are at its target, the largest first."""
        rank = planning_rank(work.number)

        async def find(manifest: Manifest) -> tuple[Descriptor, ...]:
            present = {content.digest for image in work.images for content in image.contents}
            blobs = tuple(blob for blob in manifest.blobs if blob.digest in present)
            root = work.plan.image.root
            if is_new or (root is not None and manifest.digest == root.digest):
                return blobs
            ticket = Ticket(rank, ahead=True)
            found = await self._sides.client.find_manifest(work.target, manifest.digest, ticket)
            return blobs if found is None else ()

        found = await each(_manifests(work), find, _LOOKED_FOR)
        blobs = {blob.digest: blob for group in found for blob in group}
        return tuple(sorted(blobs.values(), key=lambda blob: -blob.size))

    async def _blobs(
        self, work: PlannedCopy, blobs: Iterable[Descriptor], *, is_new: bool
    ) -> tuple[dict[Descriptor, Any], dict[Descriptor, Holder]]:
        """Return the tasks that bring blobs, and the holders of those that were brought already."""
        known: dict[Descriptor, Holder] = {}
        under_way: dict[Descriptor, asyncio.Task[Any]] = {}
        for blob in blobs:
            name = work.target.registry, blob.digest
            if name in self._holders:
                known[blob] = self._holders[name]
                continue
            if name not in self._under_way:
                self._under_way[name] = self._group.create_task(self._begin(work, blob, is_new=is_new))
            under_way[blob] = self._under_way[name]
        return {blob: await task for blob, task in under_way.items()}, known

    async def _begin(self, work: PlannedCopy, blob: Descriptor, *, is_new: bool) -> Any:
        """Submit the task that brings a blob, and return it."""
        target = work.target
        hint = await self._sides.state.holder(target, blob)
        key = ("blob", target.registry, str(blob.digest), self._run)
        return await self._batches.submit(
            encode(BlobTask(key, work.source, target, work.number, blob, is_new, hint)), key
        )

    async def _note(self, target: Reference, blobs: tuple[Descriptor, ...], holders: tuple[Holder, ...]) -> None:
        """Note who has the blobs of an image; the tasks that brought them are forgotten."""
        for blob, holder in zip(blobs, holders, strict=True):
            name = target.registry, blob.digest
            if self._under_way.pop(name, None) is not None and holder is not None:
                self._holders[name] = holder
                await self._sides.state.note_holder(Reference(target.registry, holder[0]), blob)

    async def _result(self, future: Any, name: str) -> Any:
        try:
            return await self._batches.result(future)
        except KilledWorker as error:
            raise NetworkError(
                f"each worker that had {name} ended",
                host=self._workers.address,
                advice="see the logs of the workers: they may lack memory",
            ) from error
        except CancelledError as error:
            raise self._workers.lost() from error

    def _heard(self, taken: Taken) -> None:
        """Add what a worker has done."""
        for name, sent in taken.sent.items():
            self._sides.targets[name].blobs.sent.add(sent)
        self._sides.client.usage.add(taken.usage)
        for event in taken.events:
            if isinstance(event, HostClosed):
                error = RegistryError(event.reason, host=event.host, status=429)
                self._sides.hosts.host(event.host).pause(event.seconds, error)
            self._observe(event)

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(_BEAT)
            message = Beat(self._sides.hosts.closed, self._workers.rate)
            await self._workers.heard(await self._ask(beat, encode(message)))

    async def _ask(self, question: Callable[..., Any], *arguments: bytes) -> Mapping[str, Reply]:
        """Ask all workers, and return the replies of those that answer."""
        try:
            found = await self._client.run(question, self._run, *arguments, on_error="return")
        except (OSError, ValueError, CancelledError) as error:
            raise self._workers.lost() from error
        replies = {name: decode(reply) for name, reply in found.items() if isinstance(reply, bytes)}
        for reply in replies.values():
            self._heard(reply.taken)
        return replies

    async def _end(self) -> None:
        """Let the workers end what they still do, and hear from them a last time."""
        try:
            async with asyncio.timeout(_END):
                await self._ask(stop)
        except (TimeoutError, NetworkError):
            pass


def _manifests(work: PlannedCopy) -> list[Manifest]:
    """Return all manifests of an image and its referrers, each once."""
    return list({one.digest: one for one in _documents(work) if isinstance(one, Manifest)}.values())


def _documents(work: PlannedCopy) -> Iterator[Document]:
    for image in work.images:
        yield from documents_below(image.root_document(), image.documents)
