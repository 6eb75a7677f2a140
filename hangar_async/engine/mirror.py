"""`mirror`: images from their registries into others, streamed; `mirror_validate`: both sides compared."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace

from hangar_async import mirrorlist
from hangar_async.config.target_options import MirrorOptions
from hangar_async.disk import Disk
from hangar_async.engine.copy.executor import Executor, LocalExecutor
from hangar_async.engine.copy.image import ImageCopier, ImageValidator, ImageWorker
from hangar_async.engine.copy.sides import Sides
from hangar_async.engine.events import ImageEnded, MirrorEnded, Notice, Observer, RunStarted, ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import planning_rank
from hangar_async.engine.limits.usage import Outcomes
from hangar_async.engine.outputs import (
    check_failed_list,
    check_outputs,
    check_state,
    failed_lines,
    state_files,
    tell_remarks,
    write_failed_list,
)
from hangar_async.engine.push.projects import make_projects
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.reports import MirrorOutcome, MirrorReport
from hangar_async.errors import HangarError, UsageError, the_error
from hangar_async.mirrorlist import MirrorEntry, MirrorList
from hangar_async.oci import Digest, Reference
from hangar_async.spooled import Computed
from hangar_async.state.hints import State
from hangar_async.tasks import each, every
from hangar_async.threads import in_thread

#: Images whose names are compared before the run at once, since two lines give them one target.
_MOST_COMPARED_AT_ONCE = 20


async def mirror(options: MirrorOptions, observer: Observer = ignore, *, clock: Clock | None = None) -> MirrorReport:
    """Copy the images of a list from their registries into others, byte for byte, without storing them.

    A tag that names the same digest on both sides costs two requests. Each blob is sent once to a registry, and mounted
    in its further repositories. An image that fails is an outcome in the report. Raises UsageError before any byte is
    sent, also where two images of the list would have one name.
    """
    async with reported("mirror", options, observer) as journal:
        run = await _MirrorRun.prepare(options, journal.observe, clock or Clock())
        return journal.completed(await run.run(ImageCopier, push=not options.dry_run))


async def mirror_job(
    options: MirrorOptions, job: str, state: State, observer: Observer = ignore, *, clock: Clock | None = None
) -> MirrorReport:
    """Copy the images of a job as `mirror` does, with a state that is open, in which the job owns the tags it puts.

    With a state, referrers of unchanged images are asked for while a digest is young, and once a day.
    """
    run = await _MirrorRun.prepare(options, observer, clock or Clock())
    run.job, run.state = job, state
    return await run.run(ImageCopier, push=not options.dry_run)


async def mirror_validate(
    options: MirrorOptions, observer: Observer = ignore, *, clock: Clock | None = None
) -> MirrorReport:
    """Compare the images of a list by digests with their targets; nothing is sent.

    An image that differs is an outcome in the report. Raises as `mirror` does.
    """
    options = replace(options, dry_run=False)
    async with reported("mirror-validate", options, observer) as journal:
        run = await _MirrorRun.prepare(options, journal.observe, clock or Clock())
        return journal.completed(await run.run(ImageValidator, push=False))


class _MirrorRun:
    """The list of a mirror, and what is told of it."""

    def __init__(self, options: MirrorOptions, observe: Observer, clock: Clock, images: MirrorList) -> None:
        self.options = options
        self.observe = observe
        self.clock = clock
        self.images = images
        self.notices: list[str] = []
        #: The job whose images they are, "" for none; and its state, None for one that is still to be opened.
        self.job = ""
        self.state: State | None = None
        self._disk = Disk()
        self._started = time.monotonic()

    @classmethod
    async def prepare(cls, options: MirrorOptions, observe: Observer, clock: Clock) -> _MirrorRun:
        """Read the list; raises UsageError."""
        images = await in_thread(
            mirrorlist.read, options.images, options.names, options.list_name, options.chosen_shard
        )
        await in_thread(check_outputs, [options.failed, *state_files(options.state)], [options.images])
        failed, state = await in_thread(check_failed_list, options.failed), await in_thread(check_state, options.state)
        options = replace(options, failed=failed, state=state)
        run = cls(options, observe, clock, images)
        planned = Computed(images.entries, lambda entry: MirrorOutcome(entry, "planned"))
        observe(RunStarted(len(planned), options.limits.requests, planned))
        if note := options.limits.note(options.jobs):
            run.notice(note)
        for line in images.invalid:
            run.notice(str(line))
        return run

    async def run(self, kind: type[ImageCopier] | type[ImageValidator], *, push: bool) -> MirrorReport:
        """Work on all images, and report."""
        try:
            outcomes, sides = await self._work(kind, push=push)
        except BaseExceptionGroup as group:
            raise the_error(group) from group
        failed = failed_lines((outcome.entry.text, outcome.error) for outcome in outcomes)
        invalid = [line.comment for line in self.images.invalid]
        dry, failed_list = self.options.dry_run, None
        if not dry:
            failed_list = await write_failed_list(self.options.failed, [*failed, *invalid], self.notice, self._disk)
        tell_remarks(self._disk, self.notice)
        report = MirrorReport(
            outcomes=outcomes,
            invalid=self.images.invalid,
            duplicates=self.images.duplicates,
            sent=sides.sent,
            seconds=time.monotonic() - self._started,
            dry=dry,
            lenient=self.options.lenient,
            failed_list=failed_list,
            effort=sides.effort(self._disk.times),
            notices=tuple(self.notices),
            with_referrers=kind is ImageCopier and bool(self.options.referrer_selector) and not self._is_standing,
            quotas=sides.client.quotas,
        )
        self.observe(MirrorEnded(report))
        return report

    async def _work(
        self, kind: type[ImageCopier] | type[ImageValidator], *, push: bool
    ) -> tuple[Sequence[MirrorOutcome], Sides]:
        options = self.options
        entries = self.images.entries
        async with (
            self._open_state() as state,
            Sides.opened(options, entries, self.observe, self.notice, self.clock, state, push=push) as sides,
            self._executor(sides, push=push) as executor,
        ):
            worker = kind(options, sides, self.observe, executor, push=push)
            if isinstance(worker, ImageCopier):
                worker.job = self.job
            same, unknown = await _same_images(self.images, worker)
            if push:
                await make_projects(options, sides.target_client, sides.client, [entry.target for entry in entries])

            outcomes = Outcomes[MirrorOutcome](sides.client.usage, self._disk)

            async def work(item: tuple[int, MirrorEntry]) -> None:
                number, entry = item
                if entry in same:
                    outcome = MirrorOutcome(entry, "unchanged", same_as=same[entry])
                elif entry in unknown:
                    outcome = MirrorOutcome(entry, "failed", error=unknown[entry])
                else:
                    outcome = await worker.outcome(entry, number)
                sides.client.image_ended()
                self._report(sides.client.usage.measured(outcome, number))
                outcomes.put(number, outcome)

            await every(enumerate(entries), work, executor.images_at_once)
            return _as_the_first(outcomes.sequence(), same, entries), sides

    def _open_state(self) -> AbstractAsyncContextManager[State]:
        if self.state is not None:
            return nullcontext(self.state)
        return State.opened(self.options.state, self._disk, self.notice, self.clock.wall)

    @property
    def _is_standing(self) -> bool:
        """True for a job whose state knows when referrers were asked for."""
        return bool(self.job) and self.state is not None and self.state.is_kept

    def _executor(self, sides: Sides, *, push: bool) -> AbstractAsyncContextManager[Executor]:
        options = self.options
        if not push or (settings := options.cluster_settings) is None:
            return nullcontext(LocalExecutor(sides, options.limits.requests))
        try:
            from hangar_async.engine.cluster.connect import cluster_executor  # slow to import
        except ImportError as error:
            what = "install it with pip install 'hangar_async[cluster]'"
            raise UsageError(f"--cluster needs dask.distributed: {what}") from error
        entries = self.images.entries
        return cluster_executor(settings, options, entries, sides, self.observe, self.notice, self.clock)

    def _report(self, outcome: MirrorOutcome) -> None:
        entry = outcome.entry
        if outcome.replaced is not None:
            name = f"{entry.target.name}:{entry.target.tag}"
            self.notice(f"{name} was {outcome.replaced}, and is {outcome.digest} now")
        self.observe(ImageEnded(outcome))

    def notice(self, text: str) -> None:
        """Report something that a person should know."""
        self.notices.append(text)
        self.observe(Notice(text))


def _as_the_first(
    outcomes: Sequence[MirrorOutcome], same: Mapping[MirrorEntry, MirrorEntry], entries: Sequence[MirrorEntry]
) -> Sequence[MirrorOutcome]:
    """Let an image that an earlier entry stands for end as that one did."""
    if not same:
        return outcomes
    firsts = set(same.values())
    places = {entry: number for number, entry in enumerate(entries) if entry in firsts}

    def ended(outcome: MirrorOutcome) -> MirrorOutcome:
        if outcome.same_as is None:
            return outcome
        first = outcomes[places[outcome.same_as]]
        return replace(first, entry=outcome.entry, same_as=outcome.same_as, seconds=0.0, transferred=0)

    return Computed(outcomes, ended).sequence()


async def _same_images(
    images: MirrorList, worker: ImageWorker
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
