"""Images into the store: from an entry of the list to an image that is complete."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from hangar_async.engine.events import ImagePlanned, Observer
from hangar_async.engine.limits.queue import blob_rank, planning_rank
from hangar_async.engine.pull.fetch import Fetcher
from hangar_async.engine.pull.plan import Planner
from hangar_async.engine.pull.space import SpaceCheck
from hangar_async.engine.reports import ImageOutcome
from hangar_async.errors import Conflict, ContentError, HangarError, the_error
from hangar_async.imagelist import Entry
from hangar_async.oci import MAX_DOCUMENT, Descriptor, Digest, Image, ImageConfig
from hangar_async.store.content import ContentStore, write_image


@dataclass(frozen=True, slots=True)
class FetchedImage:
    """The outcome of an image; its value where it is in the store, and when its configs say that it was made."""

    outcome: ImageOutcome
    image: Image | None = None
    created: Sequence[str] = ()


class ImageFetcher:
    """Fetches the images of one run, all at the same time; `fetch` is called once for each entry."""

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

    async def fetch(self, entry: Entry, number: int) -> FetchedImage:
        """Bring an image into the store, whole; `number` is its place in the list. A failure is an outcome.

        Raises StorageError, MachineError and TooManyParts, which end the run.
        """
        root = self._root_of(entry)
        try:
            image = await self._plan(entry, number, root)
            if image is None:
                return FetchedImage(ImageOutcome(entry, same_as=entry.earlier))
            return await self._fetch_contents(entry, number, image)
        except (HangarError, ExceptionGroup) as error:
            failure = the_error(error)
            if failure.ends_run:
                raise failure from error
            return FetchedImage(ImageOutcome(entry, error=failure))
        finally:
            if not root.done():
                root.set_result(None)

    async def _plan(self, entry: Entry, number: int, root_digest: asyncio.Future[Digest | None]) -> Image | None:
        """Plan an image and offer the sources of its content; None when an earlier entry is the same image."""
        try:
            if entry.contradicts:
                raise _conflict(entry)
            root = await self._fetcher.root(entry.reference, planning_rank(number))
            root_digest.set_result(root.digest)
            earlier = await self._root_of(entry.earlier) if entry.earlier is not None else None
            if earlier is not None:
                if earlier != root.digest:
                    raise _conflict(entry)
                return None
            image = await self._planner.plan(entry.reference, root, planning_rank(number))
            await self._space.plan(image.contents, self._store.missing)
            for blob in image.blobs:
                self._fetcher.offer(blob, entry.reference, blob_rank(number, blob.size))
        finally:
            self._fetcher.named()
        self._report_plan(entry, image)
        return image

    async def _fetch_contents(self, entry: Entry, number: int, image: Image) -> FetchedImage:
        if image.original is not None:
            partial = image.root_document()
            await self._store.put(partial.raw, partial.digest)
        async with asyncio.TaskGroup() as group:
            for blob in image.blobs:
                group.create_task(
                    self._fetcher.fetch(blob, entry.reference, blob_rank(number, blob.size), patient=True)
                )
        await write_image(self._store, image)
        created = [await created_of(self._store, config) for config in image.configs]
        return FetchedImage(ImageOutcome(entry, image.without_contents(), notes=image.notes), image, created)

    def _root_of(self, entry: Entry) -> asyncio.Future[Digest | None]:
        """Return the future of the digest that the name of an entry stands for; None when the entry failed before."""
        if entry not in self._roots:
            self._roots[entry] = asyncio.get_running_loop().create_future()
        return self._roots[entry]

    def _report_plan(self, entry: Entry, image: Image) -> None:
        new = [content for content in image.contents if content.digest not in self._named]
        self._named.update(content.digest for content in new)
        size = sum(content.size for content in new)
        self._observe(ImagePlanned(str(entry.reference), len(image.platforms), len(new), size))


async def created_of(store: ContentStore, config: Descriptor) -> str:
    """Return when an image was made, "" where its config cannot be read."""
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
