"""Content into a registry: each blob sent once, whatever the number of repositories that need it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Protocol

from hangar_async.engine.events import BlobEnded, BlobProgress, BlobReused, BlobStarted, Observer
from hangar_async.engine.limits.clock import RateLimit
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.engine.limits.retry import Retrier
from hangar_async.engine.reports import Sent
from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.manifests import ServedManifest
from hangar_async.registry.uploads import Upload


class BlobSource(Protocol):
    """Where the blobs come from that are pushed."""

    def read(self, blob: Descriptor, start: int) -> AsyncIterator[bytes | memoryview]:
        """Read a blob from byte `start` on, in pieces of about 0.5 MiB, each good until the next one is asked for."""
        ...

    async def damage(self, blob: Descriptor) -> str:
        """Say what is wrong with a blob here, "" where nothing is."""
        ...


class BlobPusher:
    """Pushes blobs and manifests, each request under a permit and tried again while that can help.

    A blob that another repository of the registry has is mounted from there; while it is on its way there, it is
    waited for.
    """

    def __init__(
        self, client: RegistryClient, retrier: Retrier, rate: RateLimit, source: BlobSource, observe: Observer
    ) -> None:
        self.sent = Sent()
        self._client = client
        self._retrier = retrier
        self._rate = rate
        self._source = source
        self._observe = observe
        # Which repositories, by name, are known to have a blob; and those that are just getting it as the first ones.
        self._places: dict[Digest, dict[str, None]] = {}
        self._flights: dict[Digest, asyncio.Future[None]] = {}
        self._wanted: dict[tuple[str, Digest], asyncio.Lock] = {}

    async def has_manifest(self, image: Reference, digest: Digest | None, rank: Rank) -> Descriptor | None:
        """Ask for the manifest of a digest, or of the image's tag; None where it is not there."""
        what = f"manifest {digest.short if digest else image.tag} of {image.name}"
        ask = partial(self._client.head_manifest, image, digest, push=True)
        return await self._retrier.run(what, image.registry, Ticket(rank), ask)

    async def get_manifest(self, client: RegistryClient, image: Reference, rank: Rank) -> ServedManifest:
        """Get the manifest of the image's tag; raises HangarError."""
        what = f"manifest {image.tag} of {image.name}"
        return await self._retrier.run(what, image.registry, Ticket(rank), partial(client.get_manifest, image))

    async def manifest(self, image: Reference, raw: bytes, media_type: str, digest: Digest | None, rank: Rank) -> None:
        """Push a manifest or index, byte for byte, under its digest, or under the image's tag; raises HangarError."""
        what = f"manifest {digest.short if digest else image.tag} of {image.name}"
        put = partial(self._client.put_manifest, image, raw, media_type, digest)
        await self._retrier.run(what, image.registry, Ticket(rank), put)

    async def has_blob(self, image: Reference, blob: Descriptor, rank: Rank) -> bool:
        """Ask whether a blob is in the repository of an image; raises HangarError."""
        places = self._places.setdefault(blob.digest, {})
        if image.repository in places:
            return True
        what = f"blob {blob.digest.short} of {image.name}"
        ask = partial(self._client.has_blob, image, blob)
        if not await self._retrier.run(what, image.registry, Ticket(rank), ask):
            return False
        places[image.repository] = None
        self._present(blob)
        return True

    async def blob(self, image: Reference, blob: Descriptor, rank: Rank) -> None:
        """Bring a blob into the repository of an image; raises HangarError."""
        # Two images of one repository may need it at the same moment.
        lock = self._wanted.setdefault((image.repository, blob.digest), asyncio.Lock())
        async with lock:
            if await self.has_blob(image, blob, rank):
                return
            places = self._places[blob.digest]
            await self._bring(image, blob, rank, places)
            places[image.repository] = None

    async def _bring(self, image: Reference, blob: Descriptor, rank: Rank, places: dict[str, None]) -> None:
        while not places and (flight := self._flights.get(blob.digest)) is not None:
            await asyncio.wait({flight})
        if places:
            origin = next(iter(places))
            what = f"blob {blob.digest.short} from {origin} to {image.name}"
            ask = partial(self._client.mount_blob, image, blob, origin)
            upload = await self._retrier.run(what, image.registry, Ticket(rank), ask)
            if upload is None:
                self._mounted(blob)
            else:
                await self._send(upload, rank)
            return
        flight = self._flights[blob.digest] = asyncio.get_running_loop().create_future()
        try:
            await self._send(self._client.upload(image, blob), rank)
            places[image.repository] = None
        finally:
            del self._flights[blob.digest]
            flight.set_result(None)

    async def _send(self, upload: Upload, rank: Rank) -> None:
        image, blob = upload.image, upload.blob
        what = f"blob {blob.digest.short} to {image.name}"
        async with upload:
            try:
                await self._retrier.run(what, image.registry, Ticket(rank), partial(self._try, upload))
            except DigestMismatch as error:
                if damage := await self._source.damage(blob):
                    raise DigestMismatch(
                        damage, digest=str(blob.digest), advice="get it anew; verify names all that is damaged"
                    ) from error
                raise
        self.sent.uploaded_blobs += 1

    async def _try(self, upload: Upload) -> None:
        blob = upload.blob
        self._observe(BlobStarted(blob.digest, blob.size, str(upload.image), upload.offset))
        try:
            await upload.send(partial(self._pieces, blob))
        finally:
            self._observe(BlobEnded(blob.digest, blob.size, upload.complete))

    async def _pieces(self, blob: Descriptor, start: int) -> AsyncIterator[bytes | memoryview]:
        done = start
        async for piece in self._source.read(blob, start):
            yield piece
            done += len(piece)
            self.sent.uploaded_bytes += len(piece)
            self._observe(BlobProgress(blob.digest, len(piece), done))
            await self._rate.take(len(piece))

    def _present(self, blob: Descriptor) -> None:
        self.sent.present_blobs += 1
        self.sent.present_bytes += blob.size
        self._observe(BlobReused(blob.digest, blob.size))

    def _mounted(self, blob: Descriptor) -> None:
        self.sent.mounted_blobs += 1
        self.sent.mounted_bytes += blob.size
        self._observe(BlobReused(blob.digest, blob.size))
