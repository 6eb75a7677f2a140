"""The need of images that would be copied: each digest counts once at a registry, as it would be sent once."""

from __future__ import annotations

from collections.abc import Iterable

from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.limits.queue import Rank, Ticket, planning_rank
from hangar_async.engine.outcomes import Need
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Descriptor, Digest, Image
from hangar_async.tasks import each

#: The blobs of an image that are looked for at once.
_AT_ONCE = 6
_COUNTED, _MOUNTED, _THERE = Need(), Need(mounts=1, requests=1), Need(requests=1)


class NeedCounter:
    """Counts what images need at their targets, and asks these for blobs; nothing is sent."""

    def __init__(self, sides: Sides) -> None:
        self._sides = sides
        #: The repository of each digest that is there or would be sent first, by its registry.
        self._holders: dict[tuple[str, Digest], str] = {}
        self._counted: set[tuple[str, str, Digest]] = set()

    async def of(self, entry: MirrorEntry, images: Iterable[Image], number: int, *, is_there: bool) -> Need:
        """Return the need of an image with its referrers; `is_there` where its tag names another one at the target.

        Raises HangarError.
        """
        images, rank = tuple(images), planning_rank(number)
        pusher = self._sides.targets[entry.target.registry].blobs
        if not is_there:
            await pusher.look(entry.target, rank)
        is_new = not is_there and pusher.is_new(entry.target.repository)
        blobs = {blob.digest: blob for image in images for blob in image.blobs}

        async def ask(blob: Descriptor) -> Need:
            return await self._blob(entry, blob, rank, is_new=is_new)

        # Both sides are asked for the tag; documents are got from one, and put to the other.
        need = Need(requests=2 + 2 * sum(len(image.documents) for image in images))
        return sum(await each(list(blobs.values()), ask, _AT_ONCE), need)

    async def _blob(self, entry: MirrorEntry, blob: Descriptor, rank: Rank, *, is_new: bool) -> Need:
        registry, repository = entry.target.registry, entry.target.repository
        holder = self._holders.setdefault((registry, blob.digest), repository)
        if (registry, repository, blob.digest) in self._counted:
            return _COUNTED
        self._counted.add((registry, repository, blob.digest))
        if holder != repository or entry.source.registry == registry:
            return _MOUNTED
        if not is_new and await self._sides.client.has_blob(entry.target, blob, Ticket(rank, ahead=True)):
            return _THERE
        # A GET, a POST and a PUT, after a HEAD where something may be there.
        return Need(1, blob.size, 0, 3 if is_new else 4)
