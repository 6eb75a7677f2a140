"""One image into a registry: children before parents, its tag last."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass

from hangar_async.engine.limits.queue import Rank, blob_rank, planning_rank
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.reports import LoadOutcome
from hangar_async.errors import ContentError
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import HeldImage, root_of
from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import joined
from hangar_async.oci.manifest import Descriptor, Index, Manifest, parse_manifest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient

#: Indexes within indexes, at most.
_DEPTH = 10


@dataclass(frozen=True, slots=True)
class PushOptions:
    """How images are pushed: an index whose parts are not all held as it was, and tags for each platform."""

    sparse_index: bool = False
    platform_tags: bool = False


class ImagePusher:
    """Pushes the images of holdings; `documents` are all manifests in these, `held` the names of all files."""

    def __init__(
        self,
        pushing: BlobPusher,
        client: RegistryClient,
        documents: Mapping[Digest, Manifest | Index],
        held: Mapping[str, int],
        wishes: PushOptions,
    ) -> None:
        self._pushing = pushing
        self._client = client
        self._documents = documents
        self._held = held
        self._wishes = wishes
        # What the tags named when they were asked for first.
        self._there: dict[int, Descriptor | None] = {}

    async def push(self, image: HeldImage, where: Reference, number: int) -> LoadOutcome:
        """Push an image to where it goes; `number` is its place in the order. Raises HangarError."""
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive anew, or load the others with --image")
        root, rank = root_of(image, self._documents), planning_rank(number)
        if number not in self._there:
            await self.is_there(image, where, number)
        there = self._there[number]
        if there is None or there.digest != root.digest:
            await self._content(root, where, number, top=True)
            outcome = await self._name(image, root, where, there, rank)
        else:
            outcome = LoadOutcome(image, where, "there", there.digest)
        await self._platform_tags(image, where, rank)
        return outcome

    async def _name(
        self, image: HeldImage, root: Manifest | Index, where: Reference, there: Descriptor | None, rank: Rank
    ) -> LoadOutcome:
        """Let the tag name an image whose content is there."""
        top, note, replaced = root, "", there
        original = self._documents.get(image.original) if image.original is not None else None
        if isinstance(original, Index) and isinstance(root, Index):
            # Asked as late as can be: another load may just have brought other platforms of the same image.
            there = await self._pushing.has_manifest(where, None, rank)
            top, note, replaced = await self._top(image, original, root, where, there, rank)
        if there is not None and there.digest == top.digest:
            return LoadOutcome(image, where, "there", top.digest, note=note)
        if top.digest != root.digest:
            await self._indexes(top, where, rank)
        await self._pushing.manifest(where, top.raw, top.media_type, None, rank)
        was = None if replaced is None else replaced.digest
        return LoadOutcome(image, where, "pushed", top.digest, note=note, replaced=was)

    async def is_there(self, image: HeldImage, where: Reference, number: int) -> bool:
        """Whether the tag names the image already, which `push` need not ask again; raises HangarError."""
        there = self._there[number] = await self._pushing.has_manifest(where, None, planning_rank(number))
        return there is not None and there.digest == root_of(image, self._documents).digest

    def blobs_of(self, image: HeldImage) -> dict[Digest, Descriptor]:
        """List all blobs that are held of an image, each once."""
        return self._blobs(root_of(image, self._documents))

    def _blobs(self, document: Manifest | Index, depth: int = 0) -> dict[Digest, Descriptor]:
        if isinstance(document, Manifest):
            return {one.digest: one for one in (document.config, *document.layers) if self._is_held(one)}
        found: dict[Digest, Descriptor] = {}
        for entry in document.manifests if depth < _DEPTH else ():
            if below := self._documents.get(entry.digest):
                found |= self._blobs(below, depth + 1)
        return found

    async def _top(
        self,
        image: HeldImage,
        original: Index,
        root: Index,
        where: Reference,
        there: Descriptor | None,
        rank: Rank,
    ) -> tuple[Index, str, Descriptor | None]:
        """Choose what the tag is to name where a part of an index is held: that part, joined with what is there of it.

        Returns the index, what is to be said of it, and what of another kind is replaced.
        """
        part = f"only a part of {original.digest} is held ({_platforms(image)})"
        if there is not None and there.digest == original.digest:
            return original, "", None
        if self._wishes.sparse_index:
            return original, f"{part}, and the tag names all of it", there
        other = None if there is None else await self._index_there(where, rank)
        together = None if other is None else joined(original, (other, root), self._documents)
        if together is None:
            return root, f"{part}: the tag names {root.digest}", there
        if together is original:
            return (
                original,
                f"with what was there it is complete: the tag names {original.digest}, as at the source",
                None,
            )
        return together, f"{part}, joined with what was there: the tag names {together.digest}", None

    async def _index_there(self, where: Reference, rank: Rank) -> Index | None:
        """Get the index that the tag names now; None where it names something else."""
        served = await self._pushing.get_manifest(self._client, where, rank)
        try:
            document = parse_manifest(served.raw, served.content_type)
        except ContentError:
            return None
        return document if isinstance(document, Index) else None

    async def _content(self, document: Manifest | Index, where: Reference, number: int, *, top: bool = False) -> None:
        """Push all that a document names, and the document under its digest unless it is the `top`."""
        rank = planning_rank(number)
        if not top and await self._pushing.has_manifest(where, document.digest, rank):
            return
        async with asyncio.TaskGroup() as group:
            if isinstance(document, Manifest):
                for blob in self._blobs(document).values():
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


def _platforms(image: HeldImage) -> str:
    return ", ".join(str(platform.platform) for platform in image.platforms) or "none"
