"""One image into a registry: children before parents, its tag last."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from hangar_async import oci
from hangar_async.config.jobs import MAX_REQUESTS
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.queue import Rank, blob_rank, planning_rank
from hangar_async.engine.push.blobs import BlobPusher
from hangar_async.engine.push.documents import DocumentPusher
from hangar_async.engine.push.referrers import ReferrersTags, target_index
from hangar_async.engine.push.sparse import SparseIndexes, TagIndex, original_of, partial_of
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


@dataclass(frozen=True, slots=True)
class Admission:
    """The judgement of an image whose content is at its target, with the referrers that are there; it may raise.

    With `needs_target` the image stands there under its digest too.
    """

    judge: Callable[[Sequence[oci.Image], Sequence[str]], Awaitable[None]]
    needs_target: bool = False


class ImagePusher:
    """Pushes images of a layout; `state` has what is known of registries."""

    def __init__(self, client: LimitedClient, blobs: BlobPusher, options: PushOptions, state: State = NO_STATE) -> None:
        self._client = client
        self._blobs = blobs
        self._options = options
        self._referrers = ReferrersTags(client)
        #: The descriptors of the tags when they were asked for first.
        self._targets: dict[int, oci.Descriptor | None] = {}
        self._sparse = SparseIndexes(options.index, state)
        self._documents = DocumentPusher(client, blobs, self._referrers)
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
        admission: Admission | None = None,
    ) -> LoadOutcome:
        """Push an image to its name at the target, with its referrers; `number` is its place in the order.

        None for the referrers says that they were not looked for. The `admission` comes before the tag. Raises
        HangarError.
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
                await self._documents.put_missing(root, target, root.digest, image.blobs, rank)
        # The tag comes last: a run that finds it there looks for nothing else, and who pulls it finds its signatures.
        attached, notes = await self.attach(referrers or (), target, number)
        if admission is not None and (not is_there or self._options.platform_tags):
            if admission.needs_target:
                await self._documents.put_missing(root, target, root.digest, image.blobs, rank)
            await admission.judge(attached, notes)
        for document in oci.documents_below(root, image.documents):
            await self._referrers.add(target, document, rank)
        for platform in image.platforms if self._options.platform_tags and target.tag else ():
            tag = f"{target.tag}-{platform.platform.suffix}"[:128]
            document, name = image.document(platform.descriptor), oci.Reference(target.registry, target.repository, tag)
            await self._documents.put_missing(document, name, None, image.blobs, rank)
        if is_there:
            outcome = LoadOutcome(image, target, "present", existing.digest if existing else None)
        else:
            outcome = await self._push_tag(image, root, target, existing, rank)
        note = "; ".join(filter(None, (outcome.note, *notes)))
        return replace(outcome, note=note, referrers=None if referrers is None else ReferrerCounts.of(attached))

    async def attach(
        self, referrers: Sequence[oci.Image], target: oci.Reference, number: int
    ) -> tuple[list[oci.Image], list[str]]:
        """Push referrers into the repository of a target; return those that are there, and notes about those refused.

        Raises HangarError.
        """
        attached, notes = list[oci.Image](), list[str]()
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
        return attached, notes

    async def _attach(self, image: oci.Image, target: oci.Reference, number: int) -> None:
        """Push a referrer, under its tag where it has one."""
        if image.problems:
            raise ContentError(image.problems[0], advice="get the archive again, or load without it: --referrers none")
        root, rank = image.root_document(), planning_rank(number)
        name = oci.Reference(target.registry, target.repository, image.reference.tag, root.digest)
        existing = await self._documents.existing(name, root.digest, rank)
        if existing is None or self._options.recheck:
            await self._push_contents(image, root, name, number)
        if existing is None:
            await self._documents.put(root, name, root.digest, image.blobs, rank)
        for document in oci.documents_below(root, image.documents):
            await self._referrers.add(name, document, rank)
        if name.tag is not None:
            tag = oci.Reference(name.registry, name.repository, name.tag)
            await self._documents.put_missing(root, tag, None, image.blobs, rank)

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
        """Return the other image that a push would take the tag from, None for none; raises HangarError.

        A registry that does not tell what the tag names is an error: it may be another image.
        """
        root = image.root_document()
        existing = self._targets[number] = await self._documents.tagged(target, planning_rank(number))
        if existing is not None and existing.digest == root.digest:
            return None
        original = image.documents.get(image.original) if image.original is not None else None
        if existing is None or not isinstance(original, oci.Index) or not isinstance(root, oci.Index):
            return existing
        # Another part of the same index is joined with this one.
        return (await self._tag_index(image, original, root, target, existing, planning_rank(number))).replaced

    async def is_present(self, image: oci.Image, target: oci.Reference, number: int) -> bool:
        """Ask whether the tag names the image already, which `push` need not ask again; raises HangarError."""
        existing = self._targets[number] = await self._documents.head(target, None, planning_rank(number))
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
        if is_below and await self._documents.existing(target, document.digest, rank):
            return

        async def push(blob: oci.Descriptor) -> None:
            await self._blobs.push(target, blob, blob_rank(number, blob.size))

        blobs = {part.digest: part for part in document.blobs if part.digest in present}.values()
        await each(sorted(blobs, key=lambda blob: -blob.size), push, MAX_REQUESTS)
        if is_below:
            await self._documents.put(document, target, document.digest, document.blobs, rank)

    async def _put_indexes(self, root: oci.Document, image: oci.Image, target: oci.Reference, rank: Rank) -> None:
        """Push the indexes within the root, whose manifests are there already, under their digests."""
        for document in oci.documents_below(root, image.documents):
            if isinstance(document, oci.Index) and document is not root:
                await self._documents.put_missing(document, target, document.digest, image.blobs, rank)

    async def _push_tag(
        self, image: oci.Image, root: oci.Document, target: oci.Reference, existing: oci.Descriptor | None, rank: Rank
    ) -> LoadOutcome:
        """Let the tag name an image whose contents are there."""
        document, note, replaced = root, "", existing
        original = image.documents.get(image.original) if image.original is not None else None
        if isinstance(original, oci.Index) and isinstance(root, oci.Index):
            # Asked as late as possible: another load may just have brought other platforms of the same image.
            existing = await self._documents.head(target, None, rank)
            chosen = await self._tag_index(image, original, root, target, existing, rank)
            document, note, replaced = chosen.index, chosen.note, chosen.replaced
        if existing is not None and existing.digest == document.digest:
            return LoadOutcome(image, target, "present", document.digest, note=note)
        if document.digest != root.digest:
            await self._put_indexes(document, image, target, rank)
        if target.tag is None and target.digest not in (None, document.digest):
            is_new = await self._documents.put_missing(document, target, document.digest, image.blobs, rank)
            note = f"it is named by its digest alone, and only a part of it is there: {document.digest}"
            return LoadOutcome(image, target, "pushed" if is_new else "present", document.digest, note=note)
        if oci.is_referrers_tag(target.tag) and not await self._referrers.may_take(
            original or root, target, replaced, rank
        ):
            await self._documents.put_missing(document, target, document.digest, image.blobs, rank)
            note = f"it has no tag, only its digest: {target.name}:{target.tag} is for the list of its referrers"
            return LoadOutcome(image, target, "pushed", document.digest, note=note)
        is_sparse = document is original and document.digest != root.digest
        put = partial(self._documents.put, document, target, None, image.blobs, rank, once=True)
        if is_sparse and self._sparse.may_refuse(target.registry):
            if not await self._sparse.push(target.registry, put):
                return await self._push_part(image, root, target, existing, rank)
        else:
            await self._documents.put(document, target, None, image.blobs, rank)
        replaced_digest = None if replaced is None else replaced.digest
        return LoadOutcome(image, target, "pushed", document.digest, note=note, replaced=replaced_digest)

    async def _push_part(
        self, image: oci.Image, root: oci.Document, target: oci.Reference, existing: oci.Descriptor | None, rank: Rank
    ) -> LoadOutcome:
        """Let the tag name a partial index, at a registry that has refused the whole one."""
        try:
            outcome = await self._push_tag(image, root, target, existing, rank)
        except RegistryError:
            self._sparse.forget(target.registry)
            raise
        await self._sparse.confirm(target.registry)
        return outcome

    async def _tag_index(
        self,
        image: oci.Image,
        original: oci.Index,
        root: oci.Index,
        target: oci.Reference,
        existing: oci.Descriptor | None,
        rank: Rank,
    ) -> TagIndex:
        """Choose the index for the tag where only a part is held."""
        is_sparse = self._options.index != "partial" and not self._sparse.refuses(target.registry)
        chosen = original_of(image, original, existing, sparse=is_sparse)
        if chosen is not None:
            return chosen
        other = None if existing is None else await target_index(self._client, target, rank)
        return partial_of(image, original, root, existing, other)
