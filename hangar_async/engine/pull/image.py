"""One image at a time: from an entry of the list to an image that is complete in the store."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hangar_async.engine.events import ImagePlanned, Observer
from hangar_async.engine.limits.queue import blob_rank, planning_rank
from hangar_async.engine.pull.fetch import Fetcher
from hangar_async.engine.pull.plan import ImagePlan, Planner
from hangar_async.engine.pull.space import SpaceCheck
from hangar_async.engine.reports import ImageOutcome
from hangar_async.errors import Conflict, ContentError, HangarError, StorageError, the_error
from hangar_async.imagelist import Entry
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, ImageConfig
from hangar_async.store.content import ContentStore, write_image


@dataclass(frozen=True, slots=True)
class Kept:
    """An image's outcome, all content it needs, and when its configs say that it was made."""

    outcome: ImageOutcome
    contents: Sequence[Descriptor] = ()
    created: Sequence[str] = ()


class Images:
    """Keeps images of one run, all at the same time; `keep` is called once for each entry."""

    def __init__(
        self, fetcher: Fetcher, planner: Planner, store: ContentStore, space: SpaceCheck, observe: Observer
    ) -> None:
        self._fetcher = fetcher
        self._planner = planner
        self._store = store
        self._space = space
        self._observe = observe
        self._roots: dict[Entry, asyncio.Future[Digest | None]] = {}
        self._named: set[Digest] = set()

    async def keep(self, entry: Entry, number: int) -> Kept:
        """Bring an image into the store, whole; `number` is its place in the list. A failure is an outcome.

        Raises StorageError, which ends the run.
        """
        root = self._root_of(entry)
        try:
            plan = await self._plan(entry, number, root)
            if plan is None:
                return Kept(ImageOutcome(entry, same_as=entry.earlier))
            return await self._hold(entry, number, plan)
        except (HangarError, ExceptionGroup) as error:
            failure = the_error(error)
            if isinstance(failure, StorageError):
                # Of the disk, and not of the image: it would meet all others too.
                raise failure from error
            return Kept(ImageOutcome(entry, error=failure))
        finally:
            if not root.done():
                root.set_result(None)

    async def _plan(self, entry: Entry, number: int, found: asyncio.Future[Digest | None]) -> ImagePlan | None:
        """Plan an image and say where its content may be had; None when an earlier entry is the same image."""
        try:
            if entry.contradicts:
                raise _conflict(entry)
            root = await self._fetcher.root(entry.reference, planning_rank(number))
            found.set_result(root.digest)
            earlier = await self._root_of(entry.earlier) if entry.earlier is not None else None
            if earlier is not None:
                if earlier != root.digest:
                    raise _conflict(entry)
                return None
            plan = await self._planner.plan(entry.reference, root, planning_rank(number))
            await self._space.plan(plan.contents, self._store.missing)
            for blob in plan.blobs:
                self._fetcher.offer(blob, entry.reference, blob_rank(number, blob.size))
        finally:
            self._fetcher.named()
        self._tell(entry, plan)
        return plan

    async def _hold(self, entry: Entry, number: int, plan: ImagePlan) -> Kept:
        if plan.partial is not None:
            await self._store.put(plan.partial.raw, plan.partial.digest)
        async with asyncio.TaskGroup() as group:
            for blob in plan.blobs:
                group.create_task(
                    self._fetcher.fetch(blob, entry.reference, blob_rank(number, blob.size), patient=True)
                )
        image = plan.saved(entry.reference)
        await write_image(self._store, image)
        created = [
            await created_of(self._store, manifest.config) for manifest, _ in plan.platforms if manifest.is_image
        ]
        return Kept(ImageOutcome(entry, image, notes=plan.notes), plan.contents, created)

    def _root_of(self, entry: Entry) -> asyncio.Future[Digest | None]:
        """What will tell the digest that an entry's name stands for; None when the entry failed before that."""
        if entry not in self._roots:
            self._roots[entry] = asyncio.get_running_loop().create_future()
        return self._roots[entry]

    def _tell(self, entry: Entry, plan: ImagePlan) -> None:
        new = [content for content in plan.contents if content.digest not in self._named]
        self._named.update(content.digest for content in new)
        size = sum(content.size for content in new)
        self._observe(ImagePlanned(str(entry.reference), len(plan.platforms), len(new), size))


async def created_of(store: ContentStore, config: Descriptor) -> str:
    """When an image was made; nothing where its config cannot be read, which saves the image all the same."""
    if config.size > MAX_DOCUMENT:
        return ""
    try:
        return ImageConfig.parse(await store.read(config.digest, MAX_DOCUMENT), config.digest).created
    except ContentError:
        return ""


def _conflict(entry: Entry) -> Conflict:
    assert entry.earlier is not None  # noqa: S101 - only an entry with an earlier one can contradict
    return Conflict(
        f"line {entry.line} ({entry.text}) wants other content under the name of line {entry.earlier.line} "
        f"({entry.earlier.text})"
    )
