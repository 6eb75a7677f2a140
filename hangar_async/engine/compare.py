"""The comparison of an image with the image of its name at a registry, by the digests of their manifests."""

import asyncio

from hangar_async.config.registries import NO_MIRRORS, Mirrors
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.mirrors import ask_mirrors_first
from hangar_async.engine.limits.queue import Rank, Ticket, planning_rank
from hangar_async.errors import ContentError, Differs
from hangar_async.oci import Descriptor, Digest, Document, Image, Index, Reference, is_referrers_tag, walk
from hangar_async.tasks import each

#: Manifests of one image that are asked for at once.
_MAX_HEADS_AT_ONCE = 20


class Comparer:
    """Compares manifests of images with those of a registry, or of its mirrors first; blobs are not compared.

    Equal manifests name equal blobs, and a registry takes no manifest whose blobs it lacks.
    """

    def __init__(self, client: LimitedClient, mirrors: Mirrors = NO_MIRRORS) -> None:
        self._client = client
        self._mirrors = mirrors

    async def compare(self, image: Image, target: Reference, number: int) -> Digest | None:
        """Compare an image with the image of its name at the target, and return the digest of the name there.

        Raises Differs, or the error that prevents the comparison.
        """
        if image.problems:
            raise ContentError(
                image.problems[0], advice="get the archive again; verify names everything that is damaged"
            )
        root, rank = image.root_document(), planning_rank(number)
        nodes = walk(root.descriptor, {**image.documents, root.digest: root}) if isinstance(root, Index) else ()
        entries = [node.descriptor for node in nodes if not node.is_blob and node.descriptor.digest != root.digest]

        async def head(entry: Descriptor) -> Descriptor | None:
            return await self._head(target, entry.digest, rank)

        async with asyncio.TaskGroup() as group:
            tag = group.create_task(self._compare_tag(image, root, target, rank))
            heads = group.create_task(each(entries, head, _MAX_HEADS_AT_ONCE))
        answers = zip(entries, heads.result(), strict=True)
        missing = [f"{_entry_name(entry)} is not there" for entry, answer in answers if answer is None]
        existing, differences = tag.result()
        if existing is None and differences and len(missing) == len(entries):
            missing = []  # nothing of it is there
        if differences := [*differences, *missing]:
            raise Differs("; ".join(differences), advice="bring it there again")
        return existing

    async def _compare_tag(
        self, image: Image, root: Document, target: Reference, rank: Rank
    ) -> tuple[Digest | None, list[str]]:
        """Return the digest of the tag, and the differences of its image, whose index may have more platforms."""
        existing = await self._head(target, None, rank)
        digest = None if existing is None else existing.digest
        return digest, await self._differences(image, root, target, existing, rank)

    async def _differences(
        self, image: Image, root: Document, target: Reference, existing: Descriptor | None, rank: Rank
    ) -> list[str]:
        if existing is not None and existing.digest in (root.digest, image.original):
            return []
        if existing is not None and isinstance(root, Index):
            other = await self._target_index(target, rank)
            if other is not None and _digests(root) <= _digests(other):
                return []
        if is_referrers_tag(target.tag) and await self._head(target, root.digest, rank) is not None:
            return []  # the list of its referrers has the tag
        if existing is None:
            return ["it is not there"]
        return [f"there it is {existing.digest}, here {image.original or root.digest}"]

    async def _head(self, target: Reference, digest: Digest | None, rank: Rank) -> Descriptor | None:
        async def ask(source: Reference, mirror: bool) -> Descriptor | None:
            return await self._client.head_manifest(source, digest, Ticket(rank), alternatives=mirror)

        return await ask_mirrors_first(self._mirrors.sources(target), ask)

    async def _target_index(self, target: Reference, rank: Rank) -> Index | None:
        async def ask(source: Reference, mirror: bool) -> Document | None:
            return (await self._client.get_document(source, Ticket(rank), alternatives=mirror))[0]

        try:
            document = await ask_mirrors_first(self._mirrors.sources(target), ask)
        except ContentError:
            return None
        return document if isinstance(document, Index) else None


def _digests(index: Index) -> set[Digest]:
    return {entry.digest for entry in index.manifests}


def _entry_name(entry: Descriptor) -> str:
    return f"{entry.platform}, manifest {entry.digest}," if entry.platform else f"manifest {entry.digest}"
