"""`mirror`: images from their registries into others, streamed; `mirror_validate`: both sides compared."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hangar_async import mirrorlist
from hangar_async.config.target_options import MirrorOptions
from hangar_async.disk import Disk
from hangar_async.engine.copy.part import selected_part
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import ImageEnded, ImagePlanned, MirrorEnded, Notice, Observer, RunStarted, ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import Rank, Ticket, planning_rank
from hangar_async.engine.outputs import check_failed_list, check_outputs, tell_remarks, write_failed_list
from hangar_async.engine.pull.plan import Plan, Planner, WholePlanner
from hangar_async.engine.push.projects import make_projects
from hangar_async.engine.reports import ImageOutcome, LoadOutcome, MirrorOutcome, MirrorReport, MirrorState, Sent
from hangar_async.engine.validate import Comparer
from hangar_async.errors import Differs, HangarError, NotFound, UsageError, the_error
from hangar_async.imagelist import Entry
from hangar_async.mirrorlist import MirrorEntry, MirrorList
from hangar_async.oci import Descriptor, Digest, Document, Image, Index, PlatformSelector, Reference
from hangar_async.tasks import each
from hangar_async.threads import in_thread

#: Images whose names are compared before the run at once, since two lines give them one target.
_MOST_COMPARED_AT_ONCE = 20


async def mirror(options: MirrorOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> MirrorReport:
    """Copy the images of a list from their registries into others, byte for byte, without storing them.

    A tag that names the same digest on both sides costs two requests. Each blob is sent once to a registry, and mounted
    in its further repositories. An image that fails is an outcome in the report. Raises UsageError before any byte is
    sent, also where two images of the list would have one name.
    """
    run = await _MirrorRun.prepare(options, observer, clock or Clock())
    return await run.run(_Copier, push=not options.dry_run)


async def mirror_validate(
    options: MirrorOptions, observer: Observer = ignore, *, clock: Clock | None = None
) -> MirrorReport:
    """Compare the images of a list by digests with their targets; nothing is sent.

    An image that differs is an outcome in the report. Raises as `mirror` does.
    """
    run = await _MirrorRun.prepare(replace(options, dry_run=False), observer, clock or Clock())
    return await run.run(_Validator, push=False)


@dataclass(frozen=True, slots=True)
class _Heads:
    """The answers of both sides: the digest at the source, its descriptor where it was asked for, and the target."""

    digest: Digest
    source: Descriptor | None
    target: Descriptor | None

    @property
    def is_same(self) -> bool:
        """True when the target has the very image."""
        return self.target is not None and self.target.digest == self.digest


class _MirrorRun:
    """The list of a mirror, and what is told of it."""

    def __init__(self, options: MirrorOptions, observe: Observer, clock: Clock, images: MirrorList) -> None:
        self.options = options
        self.observe = observe
        self.clock = clock
        self.images = images
        self.notices: list[str] = []
        self._disk = Disk()
        self._started = time.monotonic()

    @classmethod
    async def prepare(cls, options: MirrorOptions, observe: Observer, clock: Clock) -> _MirrorRun:
        """Read the list; raises UsageError."""
        images = await in_thread(mirrorlist.read, options.images, options.names, options.list_name)
        await in_thread(check_outputs, [options.failed], [options.images])
        options = replace(options, failed=await in_thread(check_failed_list, options.failed))
        run = cls(options, observe, clock, images)
        observe(RunStarted(len(images.entries), options.limits.requests))
        if note := options.limits.note(options.jobs):
            run.notice(note)
        for line in images.invalid:
            run.notice(str(line))
        return run

    async def run(self, kind: type[_Copier] | type[_Validator], *, push: bool) -> MirrorReport:
        """Work on all images, and report."""
        try:
            outcomes, sent = await self._work(kind, push=push)
        except BaseExceptionGroup as group:
            raise the_error(group) from group
        failed = [outcome.entry.text for outcome in outcomes if not outcome.ok]
        invalid = [line.comment for line in self.images.invalid]
        dry, failed_list = self.options.dry_run, None
        if not dry:
            failed_list = await write_failed_list(self.options.failed, [*failed, *invalid], self.notice, self._disk)
        tell_remarks(self._disk, self.notice)
        report = MirrorReport(
            outcomes=tuple(outcomes),
            invalid=self.images.invalid,
            duplicates=self.images.duplicates,
            sent=sent,
            seconds=time.monotonic() - self._started,
            dry=dry,
            lenient=self.options.lenient,
            failed_list=failed_list,
            notices=tuple(self.notices),
        )
        self.observe(MirrorEnded(report))
        return report

    async def _work(
        self, kind: type[_Copier] | type[_Validator], *, push: bool
    ) -> tuple[Sequence[MirrorOutcome], Sent]:
        options = self.options
        entries = self.images.entries
        async with Sides.opened(options, entries, self.observe, self.notice, self.clock, push=push) as sides:
            worker = kind(options, sides, self.observe, push=push)
            same, unknown = await _same_images(self.images, worker)
            if options.harbor and push:
                targets = [entry.target for entry in entries]
                https, public = options.harbor_https, options.harbor_public
                await make_projects(sides.target_client, sides.client, targets, https=https, public=public)

            async def work(item: tuple[int, MirrorEntry]) -> MirrorOutcome:
                number, entry = item
                if entry in same:
                    outcome = MirrorOutcome(entry, "unchanged", same_as=same[entry])
                elif entry in unknown:
                    outcome = MirrorOutcome(entry, "failed", error=unknown[entry])
                else:
                    outcome = await worker.outcome(entry, number)
                sides.client.image_ended()
                self._report(outcome)
                return outcome

            # More than the permits, so that none is idle while an image waits for its last request.
            outcomes = await each(list(enumerate(entries)), work, 2 * options.limits.requests)
            return _as_the_first(outcomes), sides.sent

    def _report(self, outcome: MirrorOutcome) -> None:
        entry = outcome.entry
        if outcome.replaced is not None:
            name = f"{entry.target.name}:{entry.target.tag}"
            self.notice(f"{name} was {outcome.replaced}, and is {outcome.digest} now")
        listed = Entry(entry.source, entry.line, entry.text)
        self.observe(ImageEnded(ImageOutcome(listed, error=outcome.error)))

    def notice(self, text: str) -> None:
        """Report something that a person should know."""
        self.notices.append(text)
        self.observe(Notice(text))


def _as_the_first(outcomes: Sequence[MirrorOutcome]) -> list[MirrorOutcome]:
    """Let an image that an earlier entry stands for end as that one did."""
    by_entry = {outcome.entry: outcome for outcome in outcomes}
    return [
        outcome
        if outcome.same_as is None
        else replace(by_entry[outcome.same_as], entry=outcome.entry, same_as=outcome.same_as)
        for outcome in outcomes
    ]


async def _same_images(
    images: MirrorList, worker: _Worker
) -> tuple[dict[MirrorEntry, MirrorEntry], dict[MirrorEntry, HangarError]]:
    """Find the entries that are the same image under one name as an earlier entry.

    Also returns the errors of those of which that is not known: they fail, since they could be another image. Raises
    UsageError where two entries are other images of one name.
    """
    entries = [entry for group in images.shared_targets for entry in group]
    unknown: dict[MirrorEntry, HangarError] = {}
    digests: dict[Reference, Digest] = {}

    async def ask(entry: MirrorEntry) -> None:
        try:
            digests[entry.source] = (await worker.source(entry, planning_rank(0)))[0]
        except (HangarError, ExceptionGroup) as error:
            unknown[entry] = the_error(error)

    await each(entries, ask, _MOST_COMPARED_AT_ONCE)
    for conflict in images.conflicts(digests):
        raise UsageError(f"{conflict}: leave one of them out, or give it another name")
    same: dict[MirrorEntry, MirrorEntry] = {}
    for group in images.shared_targets:
        first, *others = [entry for entry in group if entry not in unknown] or group[:1]
        same |= dict.fromkeys(others, first)
    return same, unknown


class _Worker:
    """Work on the images of a mirror, one by one."""

    def __init__(self, options: MirrorOptions, sides: Sides, observe: Observer, *, push: bool) -> None:
        self._options = options
        self._push_rights = push
        self._sides = sides
        self._observe = observe
        selector = PlatformSelector.parse(["all"]) if options.takes_all else options.selector
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

    async def heads(self, entry: MirrorEntry, rank: Rank) -> _Heads:
        """Ask both sides at the same time."""
        client, ticket = self._sides.client, Ticket(rank, ahead=True)
        async with asyncio.TaskGroup() as group:
            source = group.create_task(self.source(entry, rank))
            target = group.create_task(client.head_manifest(entry.target, None, ticket, push=self._push_rights))
        return _Heads(*source.result(), target.result())

    async def root(self, entry: MirrorEntry, heads: _Heads, rank: Rank) -> Document:
        """Get the root of an image, as it was when its source was asked."""
        try:
            return await self._sides.documents.root(entry.source, rank, heads.source)
        except NotFound:
            if heads.source is None:
                raise
            # The tag has moved, and its earlier image is gone.
            return await self._sides.documents.root(entry.source, rank)

    async def is_part_there(self, entry: MirrorEntry, heads: _Heads, rank: Rank) -> bool:
        """Tell whether the target has the part of an index that is wanted."""
        if heads.target is None or self._options.takes_all or self._options.index_mode == "original":
            return False
        part = selected_part(await self.root(entry, heads, rank), self._options.selector)
        return part is not None and part.digest == heads.target.digest


class _Copier(_Worker):
    """Copies images."""

    async def work(self, entry: MirrorEntry, number: int) -> MirrorOutcome:
        """Copy an image unless its target has it; raises HangarError."""
        rank = planning_rank(number)
        heads = await self.heads(entry, rank)
        has_more = self._options.recheck or self._options.platform_tags
        if not has_more and (heads.is_same or await self.is_part_there(entry, heads, rank)):
            return MirrorOutcome(entry, "unchanged", heads.digest, heads.target.digest if heads.target else None)
        root = await self.root(entry, heads, rank)
        plan = await self._planner.plan(entry.source, root, rank)
        image = plan.image
        size = sum(content.size for content in image.contents)
        self._observe(ImagePlanned(str(entry.source), len(image.platforms), len(image.contents), size))
        if self._options.dry_run:
            return MirrorOutcome(entry, "planned", root.digest, image=image.without_contents())
        loaded = await self._push(entry, number, plan, heads.target)
        notes = "; ".join(filter(None, (*plan.image.notes, loaded.note)))
        state: MirrorState = "copied" if loaded.state == "pushed" else "unchanged"
        copied = plan.image.without_contents()
        return MirrorOutcome(entry, state, root.digest, loaded.digest, copied, note=notes, replaced=loaded.replaced)

    async def _push(self, entry: MirrorEntry, number: int, plan: Plan, existing: Descriptor | None) -> LoadOutcome:
        """Push an image that its source has; raises HangarError."""
        target = self._sides.targets[entry.target.registry]
        self._sides.blobs.offer(plan.image.blobs, entry.source)
        if entry.source.registry == entry.target.registry:
            target.blobs.holds(entry.source.repository, plan.image.blobs)
        target.images.expect(plan.image, entry.target)
        target.images.found(number, existing)
        if existing is None:
            await target.blobs.look(entry.target, planning_rank(number))
        try:
            return await target.images.push(plan.image, entry.target, number)
        except (HangarError, ExceptionGroup) as group:
            gone = self._sides.blobs.gone(plan.image.blobs)
            if gone and plan.needed().isdisjoint(gone):
                plan.leave_out(gone)
            elif not target.images.doubts(plan.image, entry.target, number, the_error(group)):
                raise
        return await target.images.push(plan.image, entry.target, number)


class _Validator(_Worker):
    """Compares images with their targets."""

    async def work(self, entry: MirrorEntry, number: int) -> MirrorOutcome:
        """Compare an image with its target; raises HangarError: Differs where they differ."""
        rank = planning_rank(number)
        heads = await self.heads(entry, rank)
        if heads.target is None:
            raise Differs("it is not there", advice="mirror it")
        root = await self.root(entry, heads, rank)
        image = await self._image(entry, root, rank)
        await Comparer(self._sides.client).compare(image, entry.target, number)
        return MirrorOutcome(entry, "unchanged", root.digest, heads.target.digest, image.without_contents())

    async def _image(self, entry: MirrorEntry, root: Document, rank: Rank) -> Image:
        """Return what is compared of an image: its index and the indexes in it; all documents where these tell less."""
        part = root if self._options.takes_all else selected_part(root, self._options.selector)
        if part is None or (isinstance(part, Index) and any(one.is_index for one in part.manifests)):
            return (await self._planner.plan(entry.source, root, rank)).image
        original = None if part.digest == root.digest else root.digest
        return Image(entry.source, part.descriptor, (), documents={part.digest: part}, original=original)
