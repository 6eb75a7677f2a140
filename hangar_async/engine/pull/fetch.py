"""Content from registries into the store: each digest once, from the first repository that gives it."""

from collections import Counter
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial

from hangar_async import oci
from hangar_async.config.registries import NO_MIRRORS, Mirrors
from hangar_async.engine.events import BlobEnded, BlobProgress, BlobReused, BlobStarted, Observer
from hangar_async.engine.limits.client import FindDocument, LimitedClient, OpenBlob
from hangar_async.engine.limits.mirrors import ask_mirrors_first
from hangar_async.engine.limits.queue import Rank, Ticket, is_planning
from hangar_async.engine.limits.rate import RateLimit
from hangar_async.engine.pull.planning import Planning
from hangar_async.engine.pull.sources import ContentRequest, Source
from hangar_async.engine.reports import Traffic
from hangar_async.errors import ContentError, DigestMismatch, HangarError, NetworkError, StorageError, copied
from hangar_async.packed import PackedNames
from hangar_async.singleflight import SingleFlight
from hangar_async.store.content import ContentStore
from hangar_async.store.ingest import Ingest

_LEAST_SHARE = 16  # a try has made progress when one of so many of its bytes had not come before


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

    def reused(self, digest: oci.Digest, size: int) -> None:
        """Count content that was in the store already."""
        self.traffic.reused_blobs += 1
        self.traffic.reused_bytes += size
        self.observe(BlobReused(digest, size))

    async def root(
        self, image: oci.Reference, ticket: Ticket, find: FindDocument | None = None, *, mirror: bool = False
    ) -> oci.Document:
        """Get the manifest or index that a reference names; raises HangarError. See `LimitedClient.get_document`."""
        document, fetched = await self.client.get_document(image, ticket, find=find, alternatives=mirror)
        if fetched:
            self._count_document(document, ticket)
        return document

    async def document(
        self, entry: oci.Descriptor, image: oci.Reference, ticket: Ticket, ingest: Ingest, *, mirror: bool = False
    ) -> oci.Document:
        """Get a manifest or index by its descriptor into the store, and return it; raises HangarError."""
        document, _ = await self.client.get_document(image, ticket, entry, alternatives=mirror)
        await ingest.restart()
        await ingest.write(document.raw)
        await ingest.commit()
        self._count_document(document, ticket)
        return document

    async def blob(
        self, blob: oci.Descriptor, image: oci.Reference, ticket: Ticket, ingest: Ingest, *, mirror: bool = False
    ) -> None:
        """Get a blob into the store, a foreign layer from its URLs where the repository does not have it.

        Raises HangarError: the last answer.
        """
        receive = partial(self._receive, blob, image, ticket, ingest)
        await self.client.receive(image, blob, ticket, receive, alternatives=mirror)

    async def _receive(
        self, blob: oci.Descriptor, image: oci.Reference, ticket: Ticket, ingest: Ingest, open_blob: OpenBlob
    ) -> None:
        if ingest.offset == blob.size > 0:
            # The last try broke off after the last byte.
            await self._commit(ingest)
            return
        highest, received = ingest.highest, 0
        async with open_blob(ingest.offset) as body:
            if body.start != ingest.offset:
                await ingest.restart()
            self.observe(BlobStarted(blob.digest, blob.size, str(image), ingest.offset))
            try:
                async for piece in body.pieces():
                    await ingest.write(piece)
                    self.traffic.fetched_bytes += len(piece)
                    self.client.usage.count(ticket.rank, len(piece))
                    self.received += len(piece)
                    received += len(piece)
                    self.observe(BlobProgress(blob.digest, len(piece), ingest.offset))
                    await self.rate.take(len(piece))
                await self._commit(ingest)
            except NetworkError as error:
                # Bytes that came in an earlier try too are no progress, nor are a few behind many of these.
                gained = ingest.highest - highest
                error.gained = gained if gained * _LEAST_SHARE >= received else 0
                raise
            except DigestMismatch:
                # For the same range the same bytes would come.
                await ingest.restart()
                raise
            finally:
                self.observe(BlobEnded(blob.digest, blob.size, ingest.committed))

    async def _commit(self, ingest: Ingest) -> None:
        resumed = ingest.resumed
        await ingest.commit()
        self.traffic.fetched_blobs += 1
        self.traffic.resumed_bytes += resumed

    def _count_document(self, document: oci.Document, ticket: Ticket) -> None:
        size = len(document.raw)
        self.traffic.fetched_blobs += 1
        self.traffic.fetched_bytes += size
        self.client.usage.count(ticket.rank, size)
        self.observe(BlobProgress(document.digest, size, size))


class Fetcher:
    """Fetches content for all images of a run; single flight a digest, before the request.

    The `flights` belong to the run, so that an image that gives up does not end the fetch for others. `images` is the
    number of images that name content at the same time: a digest that every known repository failed to give, of a
    document or a blob, fails only when no further image of these can name another repository. `later` is the number of
    images that follow: an image that fails before is a `late` one, and may succeed when they have ended.
    """

    def __init__(
        self,
        flights: SingleFlight,
        receiver: Receiver,
        store: ContentStore,
        images: int,
        mirrors: Mirrors = NO_MIRRORS,
        *,
        later: int = 0,
    ) -> None:
        self._flights = flights
        self._receiver = receiver
        self._store = store
        #: The images that may still name content.
        self.planning = Planning(images, later)
        #: The numbers of images that lack content which a later image may bring.
        self.late: set[int] = set()
        self._mirrors = mirrors
        #: The requests for content that is not in the store yet, and the content that came into it, or was found there.
        self._requests: dict[tuple[oci.Digest, int], ContentRequest] = {}
        self._present = PackedNames()
        #: The requests that images wait for, until another one names a repository, and the number of these images.
        self._waited: Counter[ContentRequest] = Counter()

    async def root(self, image: oci.Reference, rank: Rank) -> oci.Document:
        """Return the manifest or index that a reference names, and store it; raises HangarError.

        A digest that is in the store needs no request. A tag needs no more than a HEAD, which is made only where an
        earlier run left documents in the store.
        """
        if image.digest is None:
            return await self._root(image, rank)
        with self.planning.working(rank[0]):
            if (stored := await self._stored(image.digest)) is not None:
                return stored
            try:
                return await self._root(image, rank)
            except StorageError:
                raise
            except HangarError:
                # Another image may have it within its index.
                await self.planning.get_last(rank[0])
                named = await self._stored(image.digest)
                if named is None:
                    self._note_late(rank)
                    raise
                return named

    async def _root(self, image: oci.Reference, rank: Rank) -> oci.Document:
        """Get the manifest or index of a reference from its registry."""
        find = self._find if image.digest is None and self._store.has_earlier else None

        async def ask(source: oci.Reference, mirror: bool) -> oci.Document | None:
            return await self._receiver.root(source, Ticket(rank, ahead=True), find, mirror=mirror)

        document: oci.Document | None = await ask_mirrors_first(self._mirrors.sources(image), ask)
        assert document is not None  # noqa: S101 - a registry without it is an error
        await self._store.put(document.raw, document.digest)
        return document

    async def _find(self, descriptor: oci.Descriptor) -> oci.Document | None:
        # With another algorithm the image would have another digest than one that was fetched: that is a SHA-256.
        if descriptor.digest.algorithm != "sha256":
            return None
        return await self._stored(descriptor.digest, descriptor.size, descriptor.media_type)

    async def _stored(self, digest: oci.Digest, size: int | None = None, media_type: str = "") -> oci.Document | None:
        """Return a document out of the store; None where the store does not have it, or it is no document."""
        if not await self._store.contains(digest, size):
            return None
        try:
            raw = await self._store.read(digest, oci.MAX_DOCUMENT)
            document = oci.parse_manifest(raw, media_type, digest.algorithm)
        except ContentError:
            return None
        self._receiver.reused(digest, len(raw))
        return document

    async def document(self, entry: oci.Descriptor, image: oci.Reference, rank: Rank) -> oci.Document:
        """Return the manifest or index that an entry of an index names, and store it; raises HangarError."""
        fetched = await self.fetch(entry, image, rank, document=True)
        if isinstance(fetched, oci.Manifest | oci.Index) and fetched.media_type == entry.media_type:
            return fetched
        with self.planning.working(rank[0]):
            raw = await self._store.read(entry.digest, oci.MAX_DOCUMENT)
        return oci.parse_manifest(raw, entry.media_type, entry.digest.algorithm)

    async def config(self, config: oci.Descriptor, image: oci.Reference, rank: Rank) -> oci.ImageConfig:
        """Return the config of an image, and store it; raises HangarError."""
        raw = await self.fetch(config, image, rank)
        if not isinstance(raw, bytes):
            raw = await self._store.read(config.digest, oci.MAX_DOCUMENT)
        return oci.ImageConfig.parse(raw, config.digest)

    def has(self, content: oci.Descriptor) -> bool:
        """Tell whether this run knows that content is in the store."""
        return _name(content) in self._present

    def offer(self, content: oci.Descriptor, image: oci.Reference, rank: Rank, *, document: bool = False) -> None:
        """Offer the repository of an image, and its mirrors, as sources of this content, with this rank."""
        if self.has(content):
            return
        request = self._request(content, rank, document)
        *mirrors, registry = self._mirrors.sources(image)
        for mirror in mirrors:
            request.offer(Source(mirror, image, mirror=True))
        request.offer(Source(registry, image, mirror=False))

    def named(self, number: int) -> None:
        """Note that the image of this number has named all its content, or never will."""
        self.planning.end(number)
        if self.planning.is_complete:
            for request in self._waited:
                request.more.set()

    async def fetch(
        self, content: oci.Descriptor, image: oci.Reference, rank: Rank, *, document: bool = False
    ) -> oci.Document | bytes | None:
        """Wait until content is in the store, whole and verified, and fetch it where nothing does yet.

        It fails when no other image may name another repository. Returns a document, or a small blob, that has come
        just now. Raises HangarError: the answer of the image's own repository.
        """
        if self.has(content):
            return None
        self.offer(content, image, rank, document=document)
        request = self._request(content, rank, document)
        number, fetched = rank[0] if is_planning(rank) else None, None
        with nullcontext() if number is None else self.planning.working(number):
            while not request.is_stored:
                if request.key in self._flights or request.untried:
                    fetched = await self._flights.join(request.key, partial(self._run, request))
                elif not await self._has_another(request, number):
                    self._note_late(rank)
                    raise copied(request.error(image))
        return fetched

    def _request(self, content: oci.Descriptor, rank: Rank, document: bool) -> ContentRequest:
        key = (content.digest, content.size)
        request = self._requests.get(key)
        if request is None:
            request = self._requests[key] = ContentRequest(content, document, rank)
        elif rank < request.rank:
            request.rank = rank
            if request.ticket is not None:
                self._receiver.client.raise_rank(request.ticket, rank)
        return request

    async def _has_another(self, request: ContentRequest, number: int | None) -> bool:
        """Wait until another image names a repository for this digest; False when none will.

        `number` is that of an image that is not planned yet.
        """
        if any(isinstance(error, StorageError) for error in request.errors.values()):
            return False
        while not (request.untried or request.is_stored or request.key in self._flights):
            if self.planning.is_complete or (number is not None and self.planning.is_last(number)):
                return False
            request.more.clear()
            self._waited[request] += 1
            try:
                await (request.more.wait() if number is None else self.planning.wait(number, request.more))
            finally:
                self._waited[request] -= 1
                if not self._waited[request]:
                    del self._waited[request]
        return True

    async def _run(self, request: ContentRequest) -> oci.Document | bytes | None:
        """Get one digest from the first repository that gives it; the failures are in `request.errors`."""
        content = request.content
        try:
            if await self._store.contains(content.digest, content.size):
                self._note_stored(request)
                self._receiver.reused(content.digest, content.size)
                return None
            ticket = request.ticket = Ticket(request.rank, ahead=is_planning(request.rank))
            async with self._store.ingest(content.digest, content.size) as ingest:
                while request.untried:
                    fetched = await self._try(request, request.untried[0], ticket, ingest)
                    if request.is_stored:
                        return fetched or ingest.whole or None
        except StorageError as error:
            for source in tuple(request.untried):
                request.failed(source, error)
        return None

    def _note_stored(self, request: ContentRequest) -> None:
        """Note that content is in the store; its sources are needed no more."""
        request.is_stored = True
        self._present.add(_name(request.content))
        self._requests.pop(request.key, None)

    def _note_late(self, rank: Rank) -> None:
        if self.planning.has_later:
            self.late.add(rank[0])

    async def _try(
        self, request: ContentRequest, source: Source, ticket: Ticket, ingest: Ingest
    ) -> oci.Document | None:
        fetched = None
        try:
            arguments = request.content, source.repository, ticket, ingest
            if request.is_document:
                fetched = await self._receiver.document(*arguments, mirror=source.mirror)
            else:
                await self._receiver.blob(*arguments, mirror=source.mirror)
            self._note_stored(request)
        except StorageError:
            raise
        except HangarError as error:
            request.failed(source, error)
        return fetched


def _name(content: oci.Descriptor) -> str:
    return f"{content.digest}.{content.size}"
