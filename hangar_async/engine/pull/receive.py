"""Content from one repository into the store, counted."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial

from hangar_async.engine.events import BlobEnded, BlobProgress, BlobReused, BlobStarted, Observer
from hangar_async.engine.limits.client import FindDocument, LimitedClient, OpenBlob
from hangar_async.engine.limits.clock import RateLimit
from hangar_async.engine.limits.queue import Ticket
from hangar_async.engine.reports import Traffic
from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import Document
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.store.ingest import Ingest


@dataclass
class Receiver:
    """Receives documents and blobs, and counts their bytes."""

    client: LimitedClient
    rate: RateLimit
    observe: Observer
    #: The sum so far; bytes of tries that failed count as fetched.
    traffic: Traffic = field(default_factory=Traffic)
    #: Bytes of blobs that arrived.
    received: int = 0

    def reused(self, digest: Digest, size: int) -> None:
        """Count content that was in the store already."""
        self.traffic.reused_blobs += 1
        self.traffic.reused_bytes += size
        self.observe(BlobReused(digest, size))

    async def root(
        self, image: Reference, ticket: Ticket, find: FindDocument | None = None, *, mirror: bool = False
    ) -> Document:
        """Get the manifest or index that a reference names; raises HangarError. See `LimitedClient.get_document`."""
        document, fetched = await self.client.get_document(image, ticket, find=find, alternatives=mirror)
        if fetched:
            self._count_document(document)
        return document

    async def document(
        self, entry: Descriptor, image: Reference, ticket: Ticket, ingest: Ingest, *, mirror: bool = False
    ) -> None:
        """Get a manifest or index by its descriptor into the store; raises HangarError."""
        document, _ = await self.client.get_document(image, ticket, entry, alternatives=mirror)
        await ingest.restart()
        await ingest.write(document.raw)
        await ingest.commit()
        self._count_document(document)

    async def blob(
        self, blob: Descriptor, image: Reference, ticket: Ticket, ingest: Ingest, *, mirror: bool = False
    ) -> None:
        """Get a blob into the store, a foreign layer from its URLs where the repository does not have it.

        Raises HangarError: the last answer.
        """
        receive = partial(self._receive, blob, image, ingest)
        await self.client.receive(image, blob, ticket, receive, alternatives=mirror)

    async def _receive(self, blob: Descriptor, image: Reference, ingest: Ingest, open_blob: OpenBlob) -> None:
        if ingest.offset == blob.size > 0:
            # The last try broke off after the last byte.
            await self._commit(ingest)
            return
        async with open_blob(ingest.offset) as body:
            if body.start != ingest.offset:
                await ingest.restart()
            self.observe(BlobStarted(blob.digest, blob.size, str(image), ingest.offset))
            try:
                async for piece in body.pieces():
                    await ingest.write(piece)
                    self.traffic.fetched_bytes += len(piece)
                    self.received += len(piece)
                    self.observe(BlobProgress(blob.digest, len(piece), ingest.offset))
                    await self.rate.take(len(piece))
                await self._commit(ingest)
            finally:
                self.observe(BlobEnded(blob.digest, blob.size, ingest.committed))

    async def _commit(self, ingest: Ingest) -> None:
        resumed = ingest.resumed
        await ingest.commit()
        self.traffic.fetched_blobs += 1
        self.traffic.resumed_bytes += resumed

    def _count_document(self, document: Document) -> None:
        size = len(document.raw)
        self.traffic.fetched_blobs += 1
        self.traffic.fetched_bytes += size
        self.observe(BlobProgress(document.digest, size, size))
