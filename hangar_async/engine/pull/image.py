"""Images into the store: from an entry of the list to an image that is complete."""

import asyncio
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace

from hangar_async.config.jobs import MAX_REQUESTS
from hangar_async.engine.events import ImagePlanned, Observer
from hangar_async.engine.limits.queue import blob_rank, planning_rank
from hangar_async.engine.pull.fetch import Fetcher
from hangar_async.engine.pull.plan import Plan, Planner
from hangar_async.engine.pull.referrers import FoundReferrers, ReferrersFinder, Subjects
from hangar_async.engine.pull.space import SpaceCheck
from hangar_async.engine.reports import ImageOutcome, ReferrerCounts
from hangar_async.errors import Conflict, HangarError, InvalidValue, NotFound, the_error
from hangar_async.imagelist import Entry
from hangar_async.oci import Descriptor, Digest, Image, Reference
from hangar_async.packed import PackedNames
from hangar_async.store.content import ContentStore, write_image
from hangar_async.tasks import each

#: Blobs of one image that are fetched, looked for or waited for at the same time: as many as there may be permits.
MAX_TASKS = MAX_REQUESTS


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """The outcome of an image; its value where it is in the store, and when its configs say that it was made.

    `referrers` are in the store too.
    """

    outcome: ImageOutcome
    image: Image | None = None
    created: Sequence[str] = ()
    referrers: Sequence[Image] = ()


class ImageFetcher:
    """Fetches the images of one run, many at the same time; `followed` are the entries that later ones may repeat."""

    def __init__(
        self,
        fetcher: Fetcher,
        planner: Planner,
        finder: ReferrersFinder | None,
        store: ContentStore,
        space: SpaceCheck,
        observe: Observer,
        followed: frozenset[Entry] = frozenset(),
    ) -> None:
        self._fetcher = fetcher
        self._planner = planner
        self._finder = finder
        self._store = store
        self._space = space
        self._observe = observe
        self._followed = followed
        self._roots: dict[Entry, asyncio.Future[Digest | None]] = {}
        self._named = PackedNames()
        #: The numbers of late images whose plans were told.
        self._told: set[int] = set()

    async def fetch(self, entry: Entry, number: int) -> FetchedImage | None:
        """Bring an image into the store, whole; `number` is its place in the list. A failure is an outcome.

        None for an image that lacks content which a later one may bring: it is to be fetched again after them. Raises
        StorageError, MachineError and TooManyParts, which end the run.
        """
        fetched = await self._fetch(entry, number)
        if number in self._fetcher.late and entry not in self._followed:
            self._fetcher.late.discard(number)
            return None
        self._told.discard(number)
        return fetched

    async def _fetch(self, entry: Entry, number: int) -> FetchedImage:
        root = self._root_of(entry)
        try:
            planned = await self._plan(entry, number, root)
            if planned is None:
                return FetchedImage(ImageOutcome(entry, same_as=entry.earlier))
            return await self._fetch_contents(entry, number, *planned)
        except (HangarError, ExceptionGroup) as error:
            failure = the_error(error)
            if failure.ends_run:
                raise failure from error
            if isinstance(failure, NotFound) and root.done() and root.result() is not None:
                failure = _lost_part(failure)
            return FetchedImage(ImageOutcome(entry, error=failure))

    async def _plan(
        self, entry: Entry, number: int, root_digest: asyncio.Future[Digest | None]
    ) -> tuple[Plan, FoundReferrers | None] | None:
        """Plan an image and offer the sources of its content; None when an earlier entry is the same image."""
        try:
            if entry.contradicts:
                raise _conflict(entry)
            root = await self._fetcher.root(entry.reference, planning_rank(number))
            root_digest.set_result(root.digest)
            earlier = None
            if entry.earlier is not None:
                earlier = await self._fetcher.planning.follow(number, self._root_of(entry.earlier))
            if earlier is not None:
                if earlier != root.digest:
                    raise _conflict(entry)
                return None
            rank = planning_rank(number)
            plan = await self._planner.plan(entry.reference, root, rank)
            image, found = plan.image, None
            if self._finder is not None:
                found = await self._finder.find(entry.reference, Subjects.of(image), rank)
            for planned in (image, *(found.images if found is not None else ())):
                await self._space.plan(planned.contents, self._store.missing)
                for blob in planned.blobs:
                    self._fetcher.offer(blob, entry.reference, blob_rank(number, blob.size))
        finally:
            if not root_digest.done():
                root_digest.set_result(None)
            self._fetcher.named(number)
        self._report_plan(entry, number, image)
        return plan, found

    async def _fetch_contents(
        self, entry: Entry, number: int, plan: Plan, found: FoundReferrers | None
    ) -> FetchedImage:
        if gone := await self._fetch_blobs(entry, number, plan.image.blobs, plan.needed()):
            plan.leave_out(gone)
        image = replace(plan.image, listed=_listed(entry))
        if image.original is not None:
            partial = image.root_document()
            await self._store.put(partial.raw, partial.digest)
        created = await write_image(self._store, image)
        outcome = ImageOutcome(
            entry, image.without_contents(), notes=image.notes, left_out=plan.left_out, size=image.size
        )
        if found is None:
            return FetchedImage(outcome, image, created)
        referrers, notes = await self._fetch_referrers(entry, number, found)
        outcome = replace(outcome, notes=(*image.notes, *notes), referrers=ReferrerCounts.of(referrers))
        return FetchedImage(outcome, image, created, referrers)

    async def _fetch_referrers(
        self, entry: Entry, number: int, found: FoundReferrers
    ) -> tuple[list[Image], tuple[str, ...]]:
        """Fetch the blobs of referrers; return those that are whole, and notes about all others."""
        whole, notes, listed = [], list(found.notes), _listed(entry)
        for image in found.images:
            gone = await self._fetch_blobs(entry, number, image.blobs, ())
            notes += [f"left out the referrer {image.reference}: {error}" for error in [*gone.values()][:1]]
            if not gone:
                name = image.reference if listed is None else image.reference.on(listed.registry)
                whole.append(image if listed is None else replace(image, listed=name))
        return whole, tuple(notes)

    async def _fetch_blobs(
        self, entry: Entry, number: int, contents: Iterable[Descriptor], needed: Collection[Digest]
    ) -> dict[Digest, NotFound]:
        """Fetch blobs; return the answers for those that are gone, and that are not needed."""
        gone: dict[Digest, NotFound] = {}

        async def fetch(blob: Descriptor) -> None:
            try:
                await self._fetcher.fetch(blob, entry.reference, blob_rank(number, blob.size))
            except NotFound as error:
                if blob.digest in needed:
                    raise
                gone[blob.digest] = error

        # In the order of their ranks, so that those that have no task yet come last anyway.
        blobs = sorted((blob for blob in contents if not self._fetcher.has(blob)), key=lambda blob: -blob.size)
        await each(blobs, fetch, MAX_TASKS)
        return gone

    def _root_of(self, entry: Entry) -> asyncio.Future[Digest | None]:
        """Return the future of the digest that the name of an entry stands for; None when the entry failed before."""
        if entry not in self._followed:
            return asyncio.get_running_loop().create_future()
        if entry not in self._roots:
            self._roots[entry] = asyncio.get_running_loop().create_future()
        return self._roots[entry]

    def _report_plan(self, entry: Entry, number: int, image: Image) -> None:
        if number in self._told:
            return
        if self._fetcher.planning.has_later:
            self._told.add(number)
        new = [content for content in image.contents if self._named.add(content.digest.hex)]
        size = sum(content.size for content in new)
        self._observe(ImagePlanned(str(entry.reference), len(image.platforms), len(new), size))


def _listed(entry: Entry) -> Reference | None:
    """Return the name in the line of an image that is saved from another registry, None for any other image."""
    try:
        listed = Reference.parse(entry.text)
    except InvalidValue:
        return None
    registry = entry.reference.registry
    return listed if listed.registry != registry and listed.on(registry) == entry.reference else None


def _lost_part(error: NotFound) -> NotFound:
    """Make the error for a part of an image whose name was found."""
    advice = "the registry has the image and lacks this part of it: push the image there again, or tell its operator"
    return NotFound(str(error), host=error.host, status=error.status, code=error.code, advice=advice, said=error.said)


def _conflict(entry: Entry) -> Conflict:
    assert entry.earlier is not None  # noqa: S101 - only an entry with an earlier one can contradict
    return Conflict(
        f"line {entry.line} ({entry.text}) wants other content under the name of line {entry.earlier.line} "
        f"({entry.earlier.text})"
    )
