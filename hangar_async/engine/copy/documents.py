"""Manifests, indexes and configs of images at their registries, which are not stored."""

from collections import OrderedDict

from hangar_async.config.registries import Mirrors
from hangar_async.engine.limits.client import LimitedClient, OpenBlob
from hangar_async.engine.limits.mirrors import ask_mirrors_first
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.errors import NetworkError
from hangar_async.oci import Descriptor, Digest, Document, ImageConfig, Reference, Verifier, children
from hangar_async.singleflight import SingleFlight

#: The memory of the documents that are kept for other images: several tags often name one index.
_KEPT = 16 << 20
#: The memory of a document beside its bytes, and of each descriptor in it.
_DOCUMENT, _DESCRIPTOR = 1000, 700


class RegistryDocuments:
    """The documents of images at their registries, or the mirrors of these; each is asked for once at a time.

    The last ones are kept. The `flights` belong to the run.
    """

    def __init__(self, client: LimitedClient, flights: SingleFlight, mirrors: Mirrors) -> None:
        self._client = client
        self._flights = flights
        self._mirrors = mirrors
        self._kept: OrderedDict[Digest, Document] = OrderedDict()
        self._size = 0

    def origin(self, image: Reference) -> Reference:
        """Return the name of an image at its registry itself, not at a mirror; raises UsageError for a blocked one."""
        return self._mirrors.sources(image)[-1]

    async def head(self, image: Reference, rank: Rank) -> Descriptor | None:
        """Ask which document a reference names; None where there is none. Raises HangarError."""

        async def ask(source: Reference, mirror: bool) -> Descriptor | None:
            ticket = Ticket(rank, ahead=True)
            return await self._client.head_manifest(source, None, ticket, alternatives=mirror)

        return await ask_mirrors_first(self._mirrors.sources(image), ask)

    async def root(self, image: Reference, rank: Rank, expected: Descriptor | None = None) -> Document:
        """Get the document that a reference names, or that its registry has just told; raises HangarError."""
        if expected is not None:
            return await self.document(expected, image, rank)
        if image.digest is not None and (kept := self._kept.get(image.digest)) is not None:
            return kept
        return await self._get(image, rank)

    async def document(self, entry: Descriptor, image: Reference, rank: Rank) -> Document:
        """Get a document of the repository of an image; raises HangarError."""
        if (kept := self._kept.get(entry.digest)) is not None and kept.media_type == entry.media_type:
            self._kept.move_to_end(entry.digest)
            return kept
        return await self._flights.join((image.name, entry.digest), lambda: self._get(image, rank, entry))

    async def _get(self, image: Reference, rank: Rank, entry: Descriptor | None = None) -> Document:
        async def ask(source: Reference, mirror: bool) -> Document | None:
            ticket = Ticket(rank, ahead=True)
            return (await self._client.get_document(source, ticket, entry, alternatives=mirror))[0]

        document: Document | None = await ask_mirrors_first(self._mirrors.sources(image), ask)
        assert document is not None  # noqa: S101 - a registry without it is an error
        self._keep(document)
        return document

    async def config(self, config: Descriptor, image: Reference, rank: Rank) -> ImageConfig:
        """Get the config of an image; raises HangarError."""

        async def ask(source: Reference, mirror: bool) -> bytes | None:
            raw = bytearray()

            async def receive(open_blob: OpenBlob) -> None:
                raw.clear()
                verifier = Verifier(config.digest, config.size, f"config {config.digest} of {source.name}")
                try:
                    async with open_blob(0) as body:
                        async for piece in body.pieces():
                            verifier.update(piece)
                            raw.extend(piece)
                except NetworkError as error:
                    error.gained = 0  # the next try begins again
                    raise
                verifier.finish()

            await self._client.receive(source, config, Ticket(rank, ahead=True), receive, alternatives=mirror)
            return bytes(raw)

        raw: bytes | None = await ask_mirrors_first(self._mirrors.sources(image), ask)
        assert raw is not None  # noqa: S101 - a registry without it is an error
        return ImageConfig.parse(raw, config.digest)

    def _keep(self, document: Document) -> None:
        if document.digest in self._kept:
            return
        self._kept[document.digest] = document
        self._size += _memory(document)
        while self._size > _KEPT:
            _, oldest = self._kept.popitem(last=False)
            self._size -= _memory(oldest)


def _memory(document: Document) -> int:
    return len(document.raw) + _DOCUMENT + _DESCRIPTOR * len(children(document))
