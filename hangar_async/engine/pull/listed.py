"""The images of a list: into a store, and from there into a packer."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from hangar_async.config.options import FetchOptions
from hangar_async.config.output import OutputSettings
from hangar_async.disk import Disk
from hangar_async.engine.events import ImageEnded, Observer
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.usage import Outcomes
from hangar_async.engine.pack import Packer
from hangar_async.engine.pull.fetch import Fetcher, Receiver
from hangar_async.engine.pull.image import FetchedImage, ImageFetcher
from hangar_async.engine.pull.plan import Planner
from hangar_async.engine.pull.referrers import ReferrersFinder
from hangar_async.engine.pull.space import SpaceCheck
from hangar_async.engine.pull.window import WINDOW, fetch_in_order
from hangar_async.engine.reports import ImageOutcome
from hangar_async.imagelist import Entry
from hangar_async.layout.files import EPOCH, newest
from hangar_async.oci import Image
from hangar_async.packed import PackedNames
from hangar_async.singleflight import SingleFlight
from hangar_async.spooled import Spooled
from hangar_async.store.content import ContentStore


@dataclass
class SavedImages:
    """The images so far, in list order; `newest` is the time of the newest one."""

    outcomes: Outcomes[ImageOutcome]
    images: Spooled[Image]
    newest: datetime = EPOCH


class ListFetcher:
    """Fetches the images of one list; `output` is what is written beside the store, None for nothing."""

    def __init__(
        self,
        options: FetchOptions,
        output: OutputSettings | None,
        observe: Observer,
        notice: Callable[[str], None],
        disk: Disk,
    ) -> None:
        self._options = options
        self._output = output
        self._observe = observe
        self._notice = notice
        self._disk = disk
        #: The time of the clock when the last image ended.
        self.last_image_at = time.monotonic()

    async def fetch(
        self, entries: Sequence[Entry], store: ContentStore, receiver: Receiver, packer: Packer
    ) -> SavedImages:
        """Fetch many images at the same time, and pack each as soon as those before it in the list are packed.

        An image that lacks content which one outside of the window may bring is fetched again after all others.
        """
        saved = SavedImages(Outcomes(receiver.client.usage, self._disk), Spooled(self._disk))
        options = self._options
        space = SpaceCheck(store.root, self._output, lambda: receiver.received, lambda: packer.written, self._notice)
        async with SingleFlight() as flights:
            mirrors, later = options.environment.registries.mirrors, max(0, len(entries) - WINDOW)
            fetcher = Fetcher(flights, receiver, store, len(entries) - later, mirrors, later=later)
            planner = Planner(fetcher, options.selector, options.include_foreign, options.limits.blobs)
            finder = self._finder(receiver.client, fetcher, flights)
            followed = frozenset(entry.earlier for entry in entries if entry.earlier is not None)
            work = ImageFetcher(fetcher, planner, finder, store, space, self._observe, followed)
            names = PackedNames() if finder is None else PackedNames(entry.reference.cache_name for entry in entries)

            async def fetch(number: int, entry: Entry) -> FetchedImage | None:
                fetched = await work.fetch(entry, number)
                if fetched is not None:
                    receiver.client.image_ended()
                    self.last_image_at = time.monotonic()
                    self._observe(ImageEnded(receiver.client.usage.measured(fetched.outcome, number)))
                return fetched

            async def take(number: int, fetched: FetchedImage) -> None:
                await self._pack(fetched, number, saved, packer, names)

            await fetch_in_order(entries, fetcher.planning, fetch, take)
        return saved

    async def _pack(
        self, fetched: FetchedImage, number: int, saved: SavedImages, packer: Packer, names: PackedNames
    ) -> None:
        """Pack an image that was fetched; `names` are those of the list, and of the referrers so far."""
        saved.outcomes.put(number, fetched.outcome)
        if fetched.image is None:
            return
        # A referrer may be one of several images, or of the list.
        referrers = [image for image in fetched.referrers if names.add(image.name)]
        for image in (fetched.image, *referrers):
            await packer.add(image)
            saved.images.append(image.without_contents())
        saved.newest = max(saved.newest, newest(fetched.created))

    def _finder(self, client: LimitedClient, fetcher: Fetcher, flights: SingleFlight) -> ReferrersFinder | None:
        options = self._options
        if not options.referrer_selector:
            return None
        mirrors, at_once = options.environment.registries.mirrors, options.limits.blobs
        return ReferrersFinder(client, fetcher, flights, mirrors, options.referrer_selector, at_once)
