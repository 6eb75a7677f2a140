"""Bytes of one digest from one repository into the store, tried again while that can help."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias

from hangar_async.engine.events import BlobEnded, BlobProgress, BlobReused, BlobStarted, Observer
from hangar_async.engine.limits.clock import RateLimit
from hangar_async.engine.limits.hosts import is_quota
from hangar_async.engine.limits.queue import Ticket
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.reports import Traffic
from hangar_async.errors import DigestMismatch, HangarError, RegistryError, StorageError
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.registry.blobs import BlobBody, host_of
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.manifests import ServedManifest
from hangar_async.store.ingest import Ingest

_Open = Callable[[int], AbstractAsyncContextManager[BlobBody]]
#: Returns the manifest or index of a descriptor where it is here already.
Find: TypeAlias = Callable[[Descriptor], Awaitable[Manifest | Index | None]]


class Receiver:
    """Asks registries for content, each request under a permit, and counts what arrives."""

    def __init__(self, client: RegistryClient, retrier: Retrier, rate: RateLimit, observe: Observer) -> None:
        self._client = client
        self._retrier = retrier
        self._rate = rate
        self._observe = observe
        self._fetched_blobs = self._fetched_bytes = 0
        #: Bytes of blobs that arrived.
        self.received = 0
        self._reused_blobs = self._reused_bytes = self._resumed_bytes = 0

    @property
    def traffic(self) -> Traffic:
        """What was fetched and reused so far; bytes of tries that failed count as fetched."""
        return Traffic(
            self._fetched_blobs, self._fetched_bytes, self._reused_blobs, self._reused_bytes, self._resumed_bytes
        )

    def reused(self, digest: Digest, size: int) -> None:
        """Count content that was in the store already."""
        self._reused_blobs += 1
        self._reused_bytes += size
        self._observe(BlobReused(digest, size))

    async def root(
        self, image: Reference, ticket: Ticket, find: Find | None = None, *, others: bool = False
    ) -> Manifest | Index:
        """Get the manifest or index that a reference names; raises HangarError. `others`: see Governor.run.

        With `find`, the registry is asked first which one that is, and for its bytes only where it is not found.
        """
        first = find

        async def once() -> Manifest | Index:
            nonlocal first
            # One HEAD, whatever becomes of it: a registry that refuses it may answer a GET all the same.
            now, first = first, None
            if now is not None and (found := await self._told(image, now)) is not None:
                return found
            served = await self._client.get_manifest(image)
            self._count_document(served)
            return parse_manifest(served.raw, served.content_type, served.digest.algorithm)

        return await self._retrier.run(f"the manifest of {image}", image.registry, ticket, once, others=others)

    async def _told(self, image: Reference, find: Find) -> Manifest | Index | None:
        try:
            told = await self._client.head_manifest(image, get=False)
        except RegistryError as error:
            if is_quota(error):
                # Whoever has too many requests is not asked once more at once.
                raise
            return None
        return None if told is None else await find(told)

    async def document(
        self, content: Descriptor, image: Reference, ticket: Ticket, ingest: Ingest, *, others: bool = False
    ) -> None:
        """Get a manifest or index by its descriptor into the store; raises HangarError."""

        async def once() -> None:
            served = await self._client.get_manifest(image, content.digest)
            if len(served.raw) != content.size:
                message = f"manifest {content.digest} has {len(served.raw)} bytes, but its index says {content.size}"
                raise DigestMismatch(message, digest=str(content.digest))
            parse_manifest(served.raw, served.content_type, content.digest.algorithm)
            await ingest.restart()
            await ingest.write(served.raw)
            await ingest.commit()
            self._count_document(served)

        what = f"manifest {content.digest.short} of {image}"
        await self._retrier.run(what, image.registry, ticket, once, others=others)

    async def blob(
        self, content: Descriptor, image: Reference, ticket: Ticket, ingest: Ingest, *, others: bool = False
    ) -> None:
        """Get a blob into the store, a foreign layer from its URLs where the repository has it not.

        Raises HangarError: the last answer.
        """
        doors: list[tuple[str, _Open]] = [(image.registry, partial(self._client.open_blob, image, content))]
        if content.is_foreign:
            doors += [(host_of(url), partial(self._client.open_foreign, url, content)) for url in content.urls]
        for host, door in doors:
            try:
                once = partial(self._receive, content, image, ingest, door)
                what = f"blob {content.digest.short} of {image}"
                await self._retrier.run(what, host, ticket, once, others=others)
            except StorageError:
                raise
            except HangarError:
                if door is doors[-1][1]:
                    raise
            else:
                return

    async def _receive(self, content: Descriptor, image: Reference, ingest: Ingest, door: _Open) -> None:
        if ingest.offset == content.size > 0:
            # The last try broke off behind the last byte.
            await self._commit(ingest)
            return
        async with door(ingest.offset) as body:
            if body.start != ingest.offset:
                await ingest.restart()
            self._observe(BlobStarted(content.digest, content.size, str(image), ingest.offset))
            try:
                async for piece in body.pieces():
                    await ingest.write(piece)
                    self._fetched_bytes += len(piece)
                    self.received += len(piece)
                    self._observe(BlobProgress(content.digest, len(piece), ingest.offset))
                    await self._rate.take(len(piece))
                await self._commit(ingest)
            finally:
                self._observe(BlobEnded(content.digest, content.size, ingest.committed))

    async def _commit(self, ingest: Ingest) -> None:
        resumed = ingest.resumed
        await ingest.commit()
        self._fetched_blobs += 1
        self._resumed_bytes += resumed

    def _count_document(self, served: ServedManifest) -> None:
        size = len(served.raw)
        self._fetched_blobs += 1
        self._fetched_bytes += size
        self._observe(BlobProgress(served.digest, size, size))
