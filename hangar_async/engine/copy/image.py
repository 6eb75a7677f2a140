"""One image of a mirror: both sides are asked, and it is copied, or compared."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.compare import Comparer
from hangar_async.engine.copy.executor import Executor, PlannedCopy, offer
from hangar_async.engine.copy.gate import Admissions
from hangar_async.engine.copy.need import NeedCounter
from hangar_async.engine.copy.part import selected_part
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import ImagePlanned, Observer
from hangar_async.engine.limits.queue import Rank, Ticket, planning_rank
from hangar_async.engine.pull.plan import Plan, Planner, WholePlanner
from hangar_async.engine.pull.referrers import FoundReferrers, Subjects
from hangar_async.engine.push.image import Admission
from hangar_async.engine.reports import MirrorOutcome, MirrorState, ReferrerCounts
from hangar_async.errors import Differs, HangarError, NotFound, the_error
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import (
    Descriptor,
    Digest,
    Document,
    Image,
    Index,
    PlatformSelector,
    cosign_type,
    is_referrers_tag,
)


@dataclass(frozen=True, slots=True)
class Heads:
    """The answers of both sides: the digest at the source, its descriptor where it was asked for, and the target."""

    digest: Digest
    source: Descriptor | None
    target: Descriptor | None

    @property
    def is_same(self) -> bool:
        """True when the target has the very image."""
        return self.target is not None and self.target.digest == self.digest


class ImageWorker:
    """Work on the images of a mirror, one by one."""

    def __init__(
        self, options: MirrorOptions, sides: Sides, observe: Observer, executor: Executor, *, push: bool
    ) -> None:
        self._options = options
        self._executor = executor
        self._push_rights = push
        self._sides = sides
        self._observe = observe
        self._needs = NeedCounter(sides)
        self._admissions = Admissions(options)
        selector = PlatformSelector.parse(["all"]) if options.takes_all else options.selector
        self._platforms = str(selector)
        planner = WholePlanner if options.takes_all else Planner
        self._planner = planner(sides.documents, selector, options.include_foreign, options.limits.blobs)

    async def outcome(self, entry: MirrorEntry, number: int) -> MirrorOutcome:
        """Work on an image; a failure is an outcome."""
        try:
            return await self.work(entry, number)
        except (HangarError, ExceptionGroup) as group:
            error = the_error(group)
            if error.ends_run:
                raise error from group
            return MirrorOutcome(entry, "failed", error=error)

    async def work(self, entry: MirrorEntry, number: int) -> MirrorOutcome:
        """Work on an image; raises HangarError."""
        raise NotImplementedError

    async def source(self, entry: MirrorEntry, rank: Rank) -> tuple[Digest, Descriptor | None]:
        """Return the digest that an image has at its source, and its descriptor where it had to be asked for."""
        if entry.source.digest is not None:
            return entry.source.digest, None
        descriptor = await self._sides.documents.head(entry.source, rank)
        if descriptor is None:
            # The answer to a GET says why.
            descriptor = (await self._sides.documents.root(entry.source, rank)).descriptor
        return descriptor.digest, descriptor

    async def heads(self, entry: MirrorEntry, rank: Rank) -> Heads:
        """Ask both sides at the same time."""
        client = self._sides.client
        find = client.find_manifest if self._push_rights else client.head_manifest
        async with asyncio.TaskGroup() as group:
            source = group.create_task(self.source(entry, rank))
            target = group.create_task(find(entry.target, None, Ticket(rank, ahead=True)))
        return Heads(*source.result(), target.result())

    async def root(self, entry: MirrorEntry, heads: Heads, rank: Rank) -> Document:
        """Get the root of an image, as it was when its source was asked."""
        try:
            return await self._sides.documents.root(entry.source, rank, heads.source)
        except NotFound:
            if heads.source is None:
                raise
            # The tag has moved, and its earlier image is gone.
            return await self._sides.documents.root(entry.source, rank)

    async def is_part_there(self, entry: MirrorEntry, heads: Heads, rank: Rank) -> bool:
        """Tell whether the target has the part of an index that is wanted."""
        if heads.target is None or self._options.takes_all or self._options.index_mode == "original":
            return False
        if await self._sides.state.has_part(heads.digest, self._platforms, heads.target.digest):
            return True
        part = selected_part(await self.root(entry, heads, rank), self._options.selector)
        if part is None or part.digest != heads.target.digest:
            return False
        await self._sides.state.note_part(heads.digest, self._platforms, part.digest)
        return True

    async def compared_image(self, entry: MirrorEntry, root: Document, rank: Rank) -> Image:
        """Return what is compared of an image: its index and the indexes in it; all documents where these tell less."""
        part = root if self._options.takes_all else selected_part(root, self._options.selector)
        if part is None or (isinstance(part, Index) and any(one.is_index for one in part.manifests)):
            return (await self._planner.plan(entry.source, root, rank)).image
        original = None if part.digest == root.digest else root.digest
        return Image(entry.source, part.descriptor, (), documents={part.digest: part}, original=original)


class ImageCopier(ImageWorker):
    """Copies images."""

    #: The name of the job whose images they are: it owns the tags that it puts, by the state. "" for none.
    job = ""

    async def work(self, entry: MirrorEntry, number: int) -> MirrorOutcome:
        """Copy an image unless its target has it; raises HangarError."""
        rank = planning_rank(number)
        heads = await self.heads(entry, rank)
        has_more = self._options.recheck or self._options.platform_tags
        if not has_more and (heads.is_same or await self.is_part_there(entry, heads, rank)):
            outcome = MirrorOutcome(entry, "unchanged", heads.digest, heads.target.digest if heads.target else None)
            return await self._recheck_referrers(outcome, heads, number)
        if heads.target is not None and not heads.is_same and self._options.overwrite == "never":
            return MirrorOutcome(entry, "kept", heads.digest, heads.target.digest, note=f"its source is {heads.digest}")
        root = await self.root(entry, heads, rank)
        plan = await self._planner.plan(entry.source, root, rank)
        image, found = plan.image, await self._referrers(entry, Subjects.of(plan.image), rank)
        attached = () if found is None else found.images
        self._admissions.check(entry, image, attached, () if found is None else found.notes)
        contents = [content for one in (image, *attached) for content in one.contents]
        size = sum(content.size for content in contents)
        self._observe(ImagePlanned(str(entry.source), len(image.platforms), len(contents), size))
        if self._options.dry_run:
            counts, need = None if found is None else ReferrerCounts.of(attached), None
            if self._options.needs:
                need = await self._needs.of(entry, (image, *attached), number, is_there=heads.target is not None)
            part = image.without_contents()
            return MirrorOutcome(entry, "planned", root.digest, image=part, referrers=counts, need=need, size=size)
        referrers = None if found is None else found.images
        admission = self._admission(entry, plan)
        work = PlannedCopy(entry.source, entry.target, number, plan, heads.target, referrers, admission)
        loaded = await self._executor.copy(work)
        if image.original is not None and loaded.digest not in (None, root.digest):
            await self._sides.state.note_part(root.digest, self._platforms, loaded.digest)
        notes = "; ".join(filter(None, (*loaded.image.notes, *(found.notes if found is not None else ()), loaded.note)))
        state: MirrorState = "copied" if loaded.state == "pushed" else "unchanged"
        if state == "copied":
            await self._note_put(entry, loaded.digest)
        if found is not None:
            await self._note_asked(entry, root.digest, found, loaded.referrers)
        return MirrorOutcome(
            entry,
            state,
            root.digest,
            loaded.digest,
            loaded.image.without_contents(),
            note=notes,
            replaced=loaded.replaced,
            referrers=loaded.referrers,
            size=loaded.size,
        )

    async def _referrers(self, entry: MirrorEntry, subjects: Subjects, rank: Rank) -> FoundReferrers | None:
        """Find the referrers of an image at its source; None where none are wanted."""
        finder = self._sides.referrers
        return None if finder is None else await finder.find(entry.source, subjects, rank)

    async def _recheck_referrers(self, outcome: MirrorOutcome, heads: Heads, number: int) -> MirrorOutcome:
        """Bring the referrers of an unchanged image where the options say so, or it is time; raises HangarError."""
        entry, rank = outcome.entry, planning_rank(number)
        if self._sides.referrers is None or not await self._is_time(entry, heads.digest):
            return outcome
        subjects = Subjects((heads.digest,))
        if heads.source is None or heads.source.is_index:
            image = await self.compared_image(entry, await self._nearest_root(entry, heads, rank), rank)
            subjects = Subjects.of_indexes(heads.digest, image.documents.values())
        found = await self._sides.referrers.find(entry.source, subjects, rank)
        for referrer in found.images:
            offer(self._sides, entry.source, entry.target, referrer)
        counts, notes = ReferrerCounts.of(found.images), list[str]()
        if not self._options.dry_run:
            images = self._sides.targets[entry.target.registry].images
            attached, notes = await images.attach(found.images, entry.target, number)
            counts = ReferrerCounts.of(attached)
            await self._note_asked(entry, heads.digest, found, counts)
        return replace(outcome, referrers=counts, note="; ".join([*found.notes, *notes]))

    async def _is_time(self, entry: MirrorEntry, digest: Digest) -> bool:
        """Tell whether the referrers of an unchanged image are asked for."""
        state = self._sides.state
        if self._options.recheck_referrers:
            return True
        is_standing = self.job and state.is_kept and not self._options.dry_run
        return bool(is_standing) and not await state.is_asked(entry.target, digest)

    async def _nearest_root(self, entry: MirrorEntry, heads: Heads, rank: Rank) -> Document:
        """Get the root of an unchanged image, from its target where that has it: its source may count requests."""
        if not heads.is_same:
            return await self.root(entry, heads, rank)
        ticket = Ticket(rank, ahead=True)
        return (await self._sides.client.get_document(entry.target, ticket, heads.target))[0]

    async def _note_asked(
        self, entry: MirrorEntry, digest: Digest, found: FoundReferrers, counts: ReferrerCounts | None
    ) -> None:
        """Note for a job that all referrers of an image are at its target."""
        if self.job and not found.notes and counts == ReferrerCounts.of(found.images):
            await self._sides.state.note_asked(entry.target, digest)

    async def _note_put(self, entry: MirrorEntry, digest: Digest | None) -> None:
        """Note for a job that it has put a tag; those of referrers belong to their images."""
        tag = entry.target.tag
        if self.job and tag and digest is not None and not (is_referrers_tag(tag) or cosign_type(tag)):
            await self._sides.state.note_put(self.job, entry.target, digest, entry.source.name)

    def _admission(self, entry: MirrorEntry, plan: Plan) -> Admission | None:
        """Return the judgement of an image; None where all are let in."""
        if self._admissions.is_open:
            return None

        async def judge(attached: Sequence[Image], notes: Sequence[str]) -> None:
            self._admissions.check(entry, plan.image, attached, notes)
            await self._admissions.judge(entry, plan.image.original or plan.image.root_document().digest)

        return Admission(judge, self._admissions.needs_target)


class ImageValidator(ImageWorker):
    """Compares images with their targets."""

    async def work(self, entry: MirrorEntry, number: int) -> MirrorOutcome:
        """Compare an image with its target; raises HangarError: Differs where they differ."""
        rank = planning_rank(number)
        heads = await self.heads(entry, rank)
        if heads.target is None:
            raise Differs("it is not there", advice="mirror it")
        root = await self.root(entry, heads, rank)
        image = await self.compared_image(entry, root, rank)
        comparer = Comparer(self._sides.client)
        try:
            await comparer.compare(image, entry.target, number)
        except Differs:
            plan = await self._planner.plan(entry.source, root, rank)
            await self._sides.blobs.leave_out_gone(plan, entry.source)
            image = plan.image
            if not image.notes:
                raise
            await comparer.compare(image, entry.target, number)
        note, target = "; ".join(image.notes), heads.target.digest
        return MirrorOutcome(entry, "unchanged", root.digest, target, image.without_contents(), note=note)
