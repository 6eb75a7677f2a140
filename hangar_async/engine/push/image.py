"""One image into a registry: children before parents, its tag last."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Collection, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hangar_async import oci
from hangar_async.config.jobs import MAX_REQUESTS
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.queue import Rank, Ticket, blob_rank, planning_rank
from hangar_async.engine.push.blobs import BlobPusher, Pieces
from hangar_async.engine.push.referrers import ReferrersTags, target_index
from hangar_async.engine.reports import LoadOutcome, ReferrerCounts
from hangar_async.errors import (
    ContentError,
    HangarError,
    Incomplete,
    RegistryError,
    SourceError,
    Unauthorized,
    the_error,
)
from hangar_async.state.hints import NO_STATE, State
from hangar_async.tasks import each

if TYPE_CHECKING:
    from hangar_async.config.target_options import IndexMode

#: Documents of one image that are pushed at once, each with as many blobs as there may be permits.
_MAX_DOCUMENTS_AT_ONCE = 10
#: The quirk of a registry that takes no index whose manifests it lacks.
_NO_SPARSE_INDEX = "no sparse index"


@dataclass(frozen=True, slots=True)
class PushOptions:
    """Options of a push: the index of an image of which only a part is pushed, and a tag for each platform.

    `recheck` looks for the contents of an image whose tag is right already.
    """

    index: IndexMode = "partial"
    platform_tags: bool = False
    recheck: bool = False


class ImagePusher:
    """Pushes images of a layout; `state` has what is known of registries."""

    def __init__(self, client: LimitedClient, blobs: BlobPusher, options: PushOptions, state: State = NO_STATE) -> None:
        self._client = client
        self._blobs = blobs
        self._options = options
        self._state = state
        self._referrers = ReferrersTags(client)
        #: The descriptors of the tags when they were asked for first.
        self._targets: dict[int, oci.Descriptor | None] = {}
        #: The registries that take an index whose manifests they lack, and those that do not.
        self._accepting: set[str] = set()
        self._refusing: set[str] = set()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        #: The documents that this run has pushed under their digests, by repository.
        self._pushed: dict[tuple[str, oci.Digest], oci.Descriptor] = {}
        self._failures: dict[int, HangarError] = {}

    def expect(self, image: oci.Image, target: oci.Reference) -> None:
        """Note an image of the run before any is pushed: its subject leaves a tag to the list of its referrers."""
        if not image.problems:
            self._referrers.expect(target, oci.documents_below(image.root_document(), image.documents))

    def fail(self, number: int, error: HangarError) -> None:
        """Let the push of an image fail, whose content could not be pushed ahead of it."""
        self._failures.setdefault(number, error)

    def found(self, number: int, descriptor: oci.Descriptor | None) -> None:
        """Note the image that the tag names now, which need not be asked again."""
        self._targets[number] = descriptor

    async def push(
        self,
        image: oci.Image,
        target: oci.Reference,
        number: int,
        referrers: Sequence[oci.Image] | None = None,
    ) -> LoadOutcome:
        """Push an image to its name at the target, with its referrers; `number` is its place in the order.

        None for the referrers says that they were not looked for. Raises HangarError.
        """
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive again, or load the others with --image")
        if (failure := self._failures.pop(number, None)) is not None:
            raise failure
        root, rank = image.root_document(), planning_rank(number)
        if number not in self._targets:
            await self.is_present(image, target, number)
        existing = self._targets[number]
        # A tag that should name the original index says nothing about what is there of it.
        names_more = self._options.index == "original" and image.original is not None
        is_there = existing is not None and existing.digest == root.digest and not names_more
        if not is_there or self._options.recheck:
            await self._push_contents(image, root, target, number)
            if oci.referrer_of(root) is not None:
                await self._put_missing(root, target, root.digest, image.blobs, rank)
        # The tag comes last: a run that finds it there looks for nothing else, and who pulls it finds its signatures.
        counts, notes = await self.attach(referrers or (), target, number)
        for document in oci.documents_below(root, image.documents):
            await self._referrers.add(target, document, rank)
        for platform in image.platforms if self._options.platform_tags and target.tag else ():
            tag = f"{target.tag}-{platform.platform.suffix}"[:128]
            document, name = image.document(platform.descriptor), oci.Reference(target.registry, target.repository, tag)
            await self._put_missing(document, name, None, image.blobs, rank)
        if is_there:
            outcome = LoadOutcome(image, target, "present", existing.digest if existing else None)
        else:
            outcome = await self._push_tag(image, root, target, existing, rank)
        note = "; ".join(filter(None, (outcome.note, *notes)))
        return replace(outcome, note=note, referrers=None if referrers is None else counts)

    async def attach(
        self, referrers: Sequence[oci.Image], target: oci.Reference, number: int
    ) -> tuple[ReferrerCounts, list[str]]:
        """Push referrers into the repository of a target; return the counts, and notes about those that it refused.

        Raises HangarError.
        """
        attached, notes = [], []
        # One after the other: a list that the registry does not keep is written for each.
        for image in referrers:
            try:
                await self._attach(image, target, number)
            except (HangarError, ExceptionGroup) as group:
                error = the_error(group)
                # Some registries take no artifacts, and a source may lack one that it lists.
                failure = error.failure if isinstance(error, SourceError) else error
                is_refusal = isinstance(failure, RegistryError) and not isinstance(failure, Unauthorized)
                if not is_refusal or failure.transient:
                    raise
                notes.append(f"left out the referrer {image.reference}: {error}")
            else:
                attached.append(image)
        return ReferrerCounts.of(attached), notes

    async def _attach(self, image: oci.Image, target: oci.Reference, number: int) -> None:
        """Push a referrer, under its tag where it has one."""
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive again, or load without it: --referrers none")
        root, rank = image.root_document(), planning_rank(number)
        name = oci.Reference(target.registry, target.repository, image.reference.tag, root.digest)
        existing = await self._existing(name, root.digest, rank)
        if existing is None or self._options.recheck:
            await self._push_contents(image, root, name, number)
            await self._put_missing(root, name, root.digest, image.blobs, rank)
        for document in oci.documents_below(root, image.documents):
            await self._referrers.add(name, document, rank)
        if name.tag is not None:
            tag = oci.Reference(name.registry, name.repository, name.tag)
            await self._put_missing(root, tag, None, image.blobs, rank)

    def doubts(self, image: oci.Image, target: oci.Reference, number: int, error: HangarError) -> bool:
        """Tell whether a push that failed should be done once more, with all blobs sent again.

        It should where the registry lacks content that it said it had, as after its garbage collection. The words of
        the registry about this repository are forgotten then: another image of it may need blobs that its source does
        not hold any more.
        """
        is_sparse = self._options.index == "original" and image.original is not None
        if isinstance(error, ContentError):
            if not self._blobs.doubted(target.repository):
                return False
        elif is_sparse or not isinstance(error, Incomplete):
            return False
        self._blobs.doubt(target.repository)
        self._targets.pop(number, None)
        return True

    async def replaced(self, image: oci.Image, target: oci.Reference, number: int) -> oci.Descriptor | None:
        """Return the other image that a push would take the tag from, None for none; raises HangarError."""
        if await self.is_present(image, target, number):
            return None
        existing, root = self._targets[number], image.root_document()
        original = image.documents.get(image.original) if image.original is not None else None
        if existing is None or not isinstance(original, oci.Index) or not isinstance(root, oci.Index):
            return existing
        # Another part of the same index is joined with this one.
        return (await self._choose_index(image, original, root, target, existing, planning_rank(number)))[2]

    async def is_present(self, image: oci.Image, target: oci.Reference, number: int) -> bool:
        """Ask whether the tag names the image already, which `push` need not ask again; raises HangarError."""
        existing = self._targets[number] = await self._head(target, None, planning_rank(number))
        return existing is not None and existing.digest == image.root_document().digest

    async def _push_contents(self, image: oci.Image, root: oci.Document, target: oci.Reference, number: int) -> None:
        """Push everything that the root names, each document under its digest; the root itself is not pushed."""
        present = {content.digest for content in image.contents}
        documents = oci.documents_below(root, image.documents)
        for index in documents:
            for entry in index.manifests if isinstance(index, oci.Index) else ():
                if not entry.is_content:
                    image.document(entry)  # raises ContentError where it is missing

        async def push(document: oci.Document) -> None:
            await self._push_document(document, root, present, target, number)

        await each(documents, push, _MAX_DOCUMENTS_AT_ONCE)
        await self._put_indexes(root, image, target, planning_rank(number))

    async def _push_document(
        self, document: oci.Document, root: oci.Document, present: set[oci.Digest], target: oci.Reference, number: int
    ) -> None:
        """Push the blobs that a document names, and a manifest behind them; indexes need all manifests first."""
        rank = planning_rank(number)
        is_below = isinstance(document, oci.Manifest) and document is not root
        if is_below and await self._existing(target, document.digest, rank):
            return

        async def push(blob: oci.Descriptor) -> None:
            await self._blobs.push(target, blob, blob_rank(number, blob.size))

        blobs = {part.digest: part for part in document.blobs if part.digest in present}.values()
        await each(sorted(blobs, key=lambda blob: -blob.size), push, MAX_REQUESTS)
        if is_below:
            await self._put(document, target, document.digest, document.blobs, rank)

    async def _put_indexes(self, root: oci.Document, image: oci.Image, target: oci.Reference, rank: Rank) -> None:
        """Push the indexes within the root, whose manifests are there already, under their digests."""
        for document in oci.documents_below(root, image.documents):
            if isinstance(document, oci.Index) and document is not root:
                await self._put_missing(document, target, document.digest, image.blobs, rank)

    async def _put_missing(
        self,
        document: oci.Document,
        target: oci.Reference,
        digest: oci.Digest | None,
        blobs: Collection[oci.Descriptor],
        rank: Rank,
    ) -> bool:
        """Push a document unless it is there; tell whether it was pushed."""
        existing = await self._existing(target, digest, rank)
        if existing is not None and existing.digest == document.digest:
            return False
        await self._put(document, target, digest, blobs, rank)
        return True

    async def _put(
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

    async def _existing(self, target: oci.Reference, digest: oci.Digest | None, rank: Rank) -> oci.Descriptor | None:
        """Ask for a document that need not be pushed where it is there; a registry that was wrong is not asked."""
        if self._blobs.doubted(target.repository):
            return None
        if digest is not None and self._blobs.is_new(target.repository):
            return self._pushed.get((target.repository, digest))
        return await self._head(target, digest, rank)

    async def _is_readable(self, target: oci.Reference, digest: oci.Digest | None, rank: Rank) -> bool:
        try:
            return await self._client.head_manifest(target, digest, Ticket(rank), push=True) is not None
        except RegistryError:
            return True  # a login that may push need not be allowed to read

    async def _push_tag(
        self, image: oci.Image, root: oci.Document, target: oci.Reference, existing: oci.Descriptor | None, rank: Rank
    ) -> LoadOutcome:
        """Let the tag name an image whose contents are there."""
        document, note, replaced = root, "", existing
        original = image.documents.get(image.original) if image.original is not None else None
        if isinstance(original, oci.Index) and isinstance(root, oci.Index):
            # Asked as late as possible: another load may just have brought other platforms of the same image.
            existing = await self._head(target, None, rank)
            document, note, replaced = await self._choose_index(image, original, root, target, existing, rank)
        if existing is not None and existing.digest == document.digest:
            return LoadOutcome(image, target, "present", document.digest, note=note)
        if document.digest != root.digest:
            await self._put_indexes(document, image, target, rank)
        if target.tag is None and target.digest not in (None, document.digest):
            is_new = await self._put_missing(document, target, document.digest, image.blobs, rank)
            note = f"it is named by its digest alone, and only a part of it is there: {document.digest}"
            return LoadOutcome(image, target, "pushed" if is_new else "present", document.digest, note=note)
        if oci.is_referrers_tag(target.tag) and not await self._referrers.may_take(
            original or root, target, replaced, rank
        ):
            await self._put_missing(document, target, document.digest, image.blobs, rank)
            note = f"it has no tag, only its digest: {target.name}:{target.tag} is for the list of its referrers"
            return LoadOutcome(image, target, "pushed", document.digest, note=note)
        is_sparse = document is original and document.digest != root.digest
        if not await self._put_tag(document, target, image, rank, is_sparse=is_sparse):
            try:
                return await self._push_tag(image, root, target, existing, rank)
            except RegistryError:
                # The answer was perhaps about the tag, and says nothing about the indexes of others.
                self._refusing.discard(target.registry)
                raise
        replaced_digest = None if replaced is None else replaced.digest
        return LoadOutcome(image, target, "pushed", document.digest, note=note, replaced=replaced_digest)

    async def _put_tag(
        self, document: oci.Document, target: oci.Reference, image: oci.Image, rank: Rank, *, is_sparse: bool
    ) -> bool:
        """Let the tag name a document; False where the registry takes no sparse index, and need not."""
        registry = target.registry
        if not is_sparse or self._options.index != "auto" or self._refuses(registry):
            await self._put(document, target, None, image.blobs, rank)
            return True
        # The first answer is for all images that wait for it.
        async with nullcontext() if registry in self._accepting else self._locks[registry]:
            if registry in self._refusing:
                return False
            try:
                await self._put(document, target, None, image.blobs, rank, once=True)
            except RegistryError as error:
                if not _may_refuse_sparse(error):
                    raise
                self._refusing.add(registry)
                await self._state.note_quirk(registry, _NO_SPARSE_INDEX)
                return False
            # Only a hint: all of that index may have been there.
            self._accepting.add(registry)
            return True

    def _refuses(self, registry: str) -> bool:
        """Tell whether a registry takes no sparse index, as it said now or in an earlier run."""
        is_known = self._options.index == "auto" and self._state.has_quirk(registry, _NO_SPARSE_INDEX)
        return is_known or registry in self._refusing

    async def _choose_index(
        self,
        image: oci.Image,
        original: oci.Index,
        root: oci.Index,
        target: oci.Reference,
        existing: oci.Descriptor | None,
        rank: Rank,
    ) -> tuple[oci.Index, str, oci.Descriptor | None]:
        """Choose the index for the tag where only a part is held: that part, joined with the part at the target.

        Returns the index, a note about it, and the descriptor of another image that it replaces.
        """
        platforms = ", ".join(str(platform.platform) for platform in image.platforms) or "none"
        part = f"only a part of {original.digest} is held ({platforms})"
        if existing is not None and existing.digest == original.digest:
            return original, "", None
        if self._options.index != "partial" and not self._refuses(target.registry):
            return original, f"{part}, and the tag names all of it", existing
        other = None if existing is None else await target_index(self._client, target, rank)
        joined = None if other is None else oci.joined_index(original, (other, root), image.documents)
        if joined is None:
            return root, f"{part}: the tag names {root.digest}", existing
        if joined is original:
            note = f"with what was there it is complete: the tag names {original.digest}, as at the source"
            return original, note, None
        return joined, f"{part}, joined with what was there: the tag names {joined.digest}", None

    async def _head(self, target: oci.Reference, digest: oci.Digest | None, rank: Rank) -> oci.Descriptor | None:
        return await self._client.find_manifest(target, digest, Ticket(rank))


def _may_refuse_sparse(error: RegistryError) -> bool:
    """Tell whether an answer to a sparse index may be about the manifests that are not there; some have no code."""
    of_names = error.code in ("NAME_INVALID", "NAME_UNKNOWN", "TAG_INVALID")
    return isinstance(error, Incomplete) or (error.status in (400, 404) and not of_names)


async def _pieces(data: bytes, start: int) -> Pieces:
    yield data[start:]
