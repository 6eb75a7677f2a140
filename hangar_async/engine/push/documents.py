"""Manifests and indexes into a registry, each under its digest or a tag."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial

from hangar_async import oci
from hangar_async.engine.limits.client import UNTOLD, LimitedClient
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.referrers import ReferrersTags
from hangar_async.engine.push.sources import Pieces
from hangar_async.errors import Conflict, Incomplete, RegistryError


class DocumentPusher:
    """Pushes documents whose contents are there; tells `referrers` which registries list these themselves."""

    def __init__(self, client: LimitedClient, blobs: BlobPusher, referrers: ReferrersTags) -> None:
        self._client = client
        self._blobs = blobs
        self._referrers = referrers
        #: The documents that this run has pushed under their digests, by repository.
        self._pushed: dict[tuple[str, oci.Digest], oci.Descriptor] = {}

    async def put_missing(
        self,
        document: oci.Document,
        target: oci.Reference,
        digest: oci.Digest | None,
        blobs: Collection[oci.Descriptor],
        rank: Rank,
    ) -> bool:
        """Push a document unless it is there; tell whether it was pushed."""
        existing = await self.existing(target, digest, rank)
        if existing is not None and existing.digest == document.digest:
            return False
        await self.put(document, target, digest, blobs, rank)
        return True

    async def put(
        self,
        document: oci.Document,
        target: oci.Reference,
        digest: oci.Digest | None,
        blobs: Collection[oci.Descriptor],
        rank: Rank,
        *,
        once: bool = False,
    ) -> None:
        """Push a document under its digest, or under the target's tag; `blobs` are the blobs below it.

        With `once` a registry that lacks what the document names is not asked again.
        A registry that needed none of these blobs is asked for the document afterwards: its cache may name content that
        was removed from its disk, and it does not write a document that its cache names. Raises Incomplete where the
        document is not there.
        """
        pushed = await self._client.put_manifest(target, document, digest, Ticket(rank), once=once)
        self._referrers.pushed(target, pushed)
        if self._blobs.is_new(target.repository):
            self._pushed[target.repository, document.digest] = document.descriptor
        if not self._blobs.is_doubtful(target.repository, blobs) or await self._is_readable(target, digest, rank):
            return
        if self._blobs.doubted(target.repository):
            # Bytes that come as a blob are written.
            await self._blobs.send(target, document.descriptor, rank, partial(_pieces, document.raw))
            await self._client.put_manifest(target, document, digest, Ticket(rank))
            if await self._is_readable(target, digest, rank):
                return
        message = (
            f"{target.registry} took {digest or target.tag or target.digest} of {target.name}, and does not have it"
        )
        advice = "restart the registry, so that it forgets what its garbage collection removed; then load again"
        raise Incomplete(message, host=target.registry, status=404, advice=advice)

    async def existing(self, target: oci.Reference, digest: oci.Digest | None, rank: Rank) -> oci.Descriptor | None:
        """Ask for a document that need not be pushed where it is there; a registry that was wrong is not asked."""
        if self._blobs.doubted(target.repository):
            return None
        if digest is not None and self._blobs.is_new(target.repository):
            return self._pushed.get((target.repository, digest))
        return await self.head(target, digest, rank)

    async def _is_readable(self, target: oci.Reference, digest: oci.Digest | None, rank: Rank) -> bool:
        try:
            return await self._client.head_manifest(target, digest, Ticket(rank), push=True) is not None
        except RegistryError:
            return True  # a login that may push need not be allowed to read

    async def head(self, target: oci.Reference, digest: oci.Digest | None, rank: Rank) -> oci.Descriptor | None:
        """Ask which document a digest, or the tag, names at a target; None for none. Raises HangarError."""
        return await self._client.find_manifest(target, digest, Ticket(rank))

    async def tagged(self, target: oci.Reference, rank: Rank) -> oci.Descriptor | None:
        """Ask which document the tag names, as `head`; raises Conflict also where the registry does not tell."""
        try:
            return await self._client.head_manifest(target, None, Ticket(rank), push=True)
        except RegistryError as error:
            if error.status not in UNTOLD:
                raise
            raise Conflict(
                f"{target.registry} does not tell what {target.name}:{target.tag} is there ({error.status})",
                advice="use a login that may read it, or load it with --on-existing-tag overwrite",
            ) from error


async def _pieces(data: bytes, start: int) -> Pieces:
    yield data[start:]
