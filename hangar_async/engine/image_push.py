"""One image into a registry: children before parents, its tag last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from hangar_async.engine.catalog import HeldImage
from hangar_async.engine.load_report import LoadOutcome
from hangar_async.engine.permits import Rank, blob_rank, planning_rank
from hangar_async.engine.pushing import Pushing
from hangar_async.errors import ContentError, HangarError
from hangar_async.oci.digest import Digest
from hangar_async.oci.layout import blob_name
from hangar_async.oci.manifest import Descriptor, Index, Manifest, join_index, parse_manifest
from hangar_async.oci.partial import joined
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient

#: Indexes within indexes, at most.
_DEPTH = 10


@dataclass(frozen=True, slots=True)
class PushWishes:
    """How images are pushed: an index whose parts are not all held as it was, and tags for each platform."""

    sparse_index: bool = False
    platform_tags: bool = False


class ImagePush:
    """Pushes the images of holdings; `documents` are all manifests in these, `held` the names of all files."""

    def __init__(
        self,
        pushing: Pushing,
        client: RegistryClient,
        documents: Mapping[Digest, Manifest | Index],
        held: Mapping[str, int],
        wishes: PushWishes,
    ) -> None:
        self._pushing = pushing
        self._client = client
        self._documents = documents
        self._held = held
        self._wishes = wishes

    async def push(self, image: HeldImage, where: Reference, number: int) -> LoadOutcome:
        """Push an image to where it goes; `number` is its place in the order. Raises HangarError."""
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive anew, or load the others with --image")
        root, rank = self.root(image), planning_rank(number)
        there = await self._pushing.has_manifest(where, None, rank)
        if there is not None and there.digest in (root.digest, image.original):
            await self._platform_tags(image, where, rank)
            return LoadOutcome(image, where, "there", there.digest)
        await self._content(root, where, number, top=True)
        top, notes = await self._top(image, root, where, there, rank)
        if top.digest != root.digest:
            await self._indexes(top, where, rank)
        await self._pushing.manifest(where, top.raw, top.media_type, None, rank)
        await self._platform_tags(image, where, rank)
        if there is not None:
            notes.append(f"{where.name}:{where.tag} was {there.digest}, and is {top.digest} now")
        return LoadOutcome(image, where, "pushed", top.digest, notes=tuple(notes))

    async def is_there(self, image: HeldImage, where: Reference, number: int) -> bool:
        """Whether the tag names the image already; raises HangarError."""
        there = await self._pushing.has_manifest(where, None, planning_rank(number))
        return there is not None and there.digest in (self.root(image).digest, image.original)

    def root(self, image: HeldImage) -> Manifest | Index:
        """What names an image: what its holdings say, else its one manifest, else an index of them."""
        if image.root is not None:
            return self._documents[image.root.digest]
        if len(image.platforms) == 1:
            return self._documents[image.platforms[0].descriptor.digest]
        return join_index([platform.descriptor for platform in image.platforms])

    def blobs(self, document: Manifest | Index, depth: int = 0) -> dict[Digest, Descriptor]:
        """List all blobs that are held of what a document names, each once."""
        if isinstance(document, Manifest):
            return {one.digest: one for one in (document.config, *document.layers) if self._is_held(one)}
        found: dict[Digest, Descriptor] = {}
        for entry in document.manifests if depth < _DEPTH else ():
            if below := self._documents.get(entry.digest):
                found |= self.blobs(below, depth + 1)
        return found

    async def _top(
        self, image: HeldImage, root: Manifest | Index, where: Reference, there: Descriptor | None, rank: Rank
    ) -> tuple[Manifest | Index, list[str]]:
        """Choose what the tag is to name: a part of an index is joined with what is there of the same index."""
        original = self._documents.get(image.original) if image.original is not None else None
        if image.original is None or not isinstance(original, Index) or not isinstance(root, Index):
            return root, []
        if self._wishes.sparse_index:
            return original, [f"only {_platforms(image)} of {image.original} are here; the index names more"]
        together: Index | None = None
        if there is not None:
            served = await self._pushing.get_manifest(self._client, where, rank)
            other = parse_manifest(served.raw, served.content_type)
            if isinstance(other, Index):
                together = joined(original, (other, root), self._documents)
        if together is original:
            return original, ["with what was there it is complete: the index is the original one"]
        notes = [f"only a part of {image.original} is here ({_platforms(image)}): its index is {root.digest}"]
        if together is not None:
            notes = [f"joined with what was there of {image.original}: the index is {together.digest}"]
        return together or root, notes

    async def _content(self, document: Manifest | Index, where: Reference, number: int, *, top: bool = False) -> None:
        """Push all that a document names, and the document under its digest unless it is the `top`."""
        rank = planning_rank(number)
        if not top and await self._pushing.has_manifest(where, document.digest, rank):
            return
        async with asyncio.TaskGroup() as group:
            if isinstance(document, Manifest):
                for blob in self.blobs(document).values():
                    group.create_task(self._pushing.blob(where, blob, blob_rank(number, blob.size)))
            else:
                for entry in document.manifests:
                    group.create_task(self._content(self._document(entry), where, number))
        if not top:
            await self._pushing.manifest(where, document.raw, document.media_type, document.digest, rank)

    async def _indexes(self, document: Manifest | Index, where: Reference, rank: Rank, depth: int = 0) -> None:
        """Push the indexes within an index, whose manifests are there already, under their digests."""
        for entry in document.manifests if isinstance(document, Index) and depth < _DEPTH else ():
            below = self._documents.get(entry.digest)
            if isinstance(below, Index) and not await self._pushing.has_manifest(where, below.digest, rank):
                await self._indexes(below, where, rank, depth + 1)
                await self._pushing.manifest(where, below.raw, below.media_type, below.digest, rank)

    async def _platform_tags(self, image: HeldImage, where: Reference, rank: Rank) -> None:
        for platform in image.platforms if self._wishes.platform_tags else ():
            manifest = self._document(platform.descriptor)
            tagged = Reference(where.registry, where.repository, f"{where.tag}-{platform.platform.suffix}"[:128])
            there = await self._pushing.has_manifest(tagged, None, rank)
            if there is None or there.digest != manifest.digest:
                await self._pushing.manifest(tagged, manifest.raw, manifest.media_type, None, rank)

    def _document(self, entry: Descriptor) -> Manifest | Index:
        found = self._documents.get(entry.digest)
        if found is None:
            raise ContentError(f"manifest {entry.digest} is missing", digest=str(entry.digest))
        return found

    def _is_held(self, blob: Descriptor) -> bool:
        return blob_name(blob.digest) in self._held


def outcome_of(image: HeldImage, where: Reference, error: HangarError) -> LoadOutcome:
    """The outcome of an image that failed."""
    return LoadOutcome(image, where, "failed", error=error)


def _platforms(image: HeldImage) -> str:
    return ", ".join(str(platform.platform) for platform in image.platforms) or "none"
