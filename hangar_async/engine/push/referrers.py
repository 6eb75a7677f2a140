"""Manifests with a subject, listed under a tag of their subject at registries that do not list them themselves.

Source: OCI distribution-spec 1.1, "Pushing Manifests with Subject" and "Referrers Tag Schema".
"""

import asyncio
from collections import defaultdict
from collections.abc import Hashable, Iterable

from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.errors import ContentError, Differs, NotFound
from hangar_async.oci import Descriptor, Document, Index, Reference, Referrer, media_types, referrer_of, with_referrer
from hangar_async.registry.manifests import PushedManifest

#: Another client may replace the list while it is written here; so often it is written again.
_TRIES = 4


class ReferrersTags:
    """The lists of referrers that a client must keep where a registry has no API for them."""

    def __init__(self, client: LimitedClient) -> None:
        self._client = client
        #: The registries, by name, that list referrers, and those that do not.
        self._listing: dict[str, bool] = {}
        self._locks: defaultdict[Hashable, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: A referrer of each list, by repository and tag, that this run adds to.
        self._expected: dict[tuple[str, str], Referrer] = {}

    def expect(self, target: Reference, documents: Iterable[Document]) -> None:
        """Note the referrers among documents that come into the target's repository."""
        for document in documents:
            if (referrer := referrer_of(document)) is not None:
                self._expected[target.repository, referrer.subject.tag] = referrer

    async def may_take(self, image: Document, target: Reference, replaced: Descriptor | None, rank: Rank) -> bool:
        """Tell whether an image without another name may take a tag that may be for its referrers.

        Of images, it can name only this one, or parts of it.
        """
        if replaced is not None:
            other = await target_index(self._client, target, rank)
            known = {entry.digest for entry in image.manifests} if isinstance(image, Index) else set()
            return other is not None and all(entry.digest in known for entry in other.manifests)
        return not await self._claims(target, rank)

    async def _claims(self, target: Reference, rank: Rank) -> bool:
        """Tell whether the tag of a target is for a list of referrers that this run adds to."""
        referrer = self._expected.get((target.repository, str(target.tag)))
        return referrer is not None and not await self._is_listing(target, referrer, rank)

    def pushed(self, target: Reference, manifest: PushedManifest) -> None:
        """Note that a registry lists referrers, where its answer to a push says so."""
        if manifest.subject is not None:
            self._listing[target.registry] = True

    async def add(self, target: Reference, document: Document, rank: Rank) -> None:
        """List a document of the target's repository as a referrer, if it has a subject; raises HangarError."""
        referrer = referrer_of(document)
        if referrer is None or await self._is_listing(target, referrer, rank):
            return
        tag = Reference(target.registry, target.repository, referrer.subject.tag)
        async with self._locks[tag]:
            for _ in range(_TRIES):
                # The look after the last push is the first of the next turn.
                index = with_referrer(await self._read(tag, referrer, rank), referrer)
                if index is None:
                    return
                await self._client.put_manifest(tag, index, None, Ticket(rank))
            if with_referrer(await self._read(tag, referrer, rank), referrer) is not None:
                message = (
                    f"other clients replace {tag.name}:{tag.tag}, the list of referrers, without {document.digest}"
                )
                raise Differs(message, digest=str(document.digest), advice="load again when they have ended")

    async def _is_listing(self, target: Reference, referrer: Referrer, rank: Rank) -> bool:
        async with self._locks[target.registry]:
            if target.registry not in self._listing:
                listing = await self._client.lists_referrers(target, referrer.subject, Ticket(rank))
                self._listing[target.registry] = listing
        return self._listing[target.registry]

    async def _read(self, tag: Reference, referrer: Referrer, rank: Rank) -> Index | None:
        """Get the list that is there; None without one. Raises ContentError where the tag names anything else."""
        try:
            document, _ = await self._client.get_document(tag, Ticket(rank))
        except NotFound:
            return None
        # A subject that has no other name may have this tag.
        is_list = document.media_type == media_types.OCI_INDEX and document.digest != referrer.subject
        if not is_list or not isinstance(document, Index) or any(entry.platform for entry in document.manifests):
            raise ContentError(
                f"{tag.name}:{tag.tag} is no list of referrers but {document.digest}, and is left as it is",
                digest=str(document.digest),
                advice="remove this tag there, or give the image that it names another one; then load again",
            )
        return document


async def target_index(client: LimitedClient, target: Reference, rank: Rank) -> Index | None:
    """Get the index that the tag of a target names now; None where it names anything else."""
    try:
        document, _ = await client.get_document(target, Ticket(rank))
    except ContentError:
        return None
    return document if isinstance(document, Index) else None
