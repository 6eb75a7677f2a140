"""`mirror_jobs`: the jobs of a file, one after the other."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path

from hangar_async import mirrorlist
from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.config.naming import MirrorNames
from hangar_async.config.target_options import MirrorOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import Event, MirrorEnded, Notice, Observer, RunStarted, ignore
from hangar_async.engine.jobs.choose import Chooser, choosers
from hangar_async.engine.jobs.conflicts import check_lists, check_targets
from hangar_async.engine.jobs.notify import notified
from hangar_async.engine.jobs.plan import (
    Plan,
    check_plan,
    planned_deletions,
    planned_entries,
    read_list,
    read_plan,
    write_plan,
)
from hangar_async.engine.jobs.prune_jobs import Pruning, check_prune
from hangar_async.engine.jobs.report import ChosenJob, JobReport, JobsReport, RepositoryChoice, whole_line
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.mirror import mirror_job
from hangar_async.engine.outputs import (
    check_failed_list,
    check_outputs,
    check_state,
    state_files,
    tell_remarks,
    write_failed_list,
)
from hangar_async.engine.reporting.hiding import hiding, shown, shown_errors
from hangar_async.engine.reporting.journal import reported
from hangar_async.engine.reports import MirrorOutcome
from hangar_async.errors import HangarError, UsageError, the_error
from hangar_async.jobfile.jobs import Job, JobFile
from hangar_async.jobfile.read import read
from hangar_async.state.hints import NO_STATE, State
from hangar_async.threads import in_thread


async def mirror_jobs(
    options: MirrorJobsOptions, observer: Observer = ignore, *, clock: Clock | None = None
) -> JobsReport:
    """Copy the images of the jobs of a file, each job as a list of its own.

    All tags are chosen before the first image is copied. A repository whose tags cannot be listed and an image that
    fails are outcomes in the report. Raises UsageError for a wrong file, before any request, and where two repositories
    would have one name. Values of variables in the file are shown nowhere, nor in the report: `${NAME}` stands there.
    """
    options = options.noted()
    with shown_errors(options.hidden):
        file = await in_thread(read, options.config, options.environment.variables)
    options = options.with_outputs(file.outputs.json, file.outputs.failed, file.outputs.metrics)
    return await mirror_file(options, file, observer, clock=clock)


async def mirror_file(
    options: MirrorJobsOptions, file: JobFile, observer: Observer = ignore, *, clock: Clock | None = None
) -> JobsReport:
    """Copy the images of the jobs of a file that is read already, as `mirror_jobs` does."""
    clock = clock or Clock()
    async with (
        notified(options, file, clock, lambda text: observer(Notice(text))) as notifier,
        reported("mirror", options, observer) as journal,
    ):
        with shown_errors(options.hidden):
            run = await _Run.prepare(options, journal.observe, clock, file)
            report = notifier.report = await run.run()
        journal.observe(MirrorEnded(journal.completed(report.whole)))
    return report


def checked_options(options: MirrorJobsOptions, file: JobFile) -> MirrorJobsOptions:
    """Return the options with the paths that are written, as the file has them too; raises UsageError."""
    state = options.state or file.state
    target = options.report if isinstance(options.report, Path) else None
    used = [options.config, options.plan, *file.inputs]
    check_outputs([options.failed, *state_files(state), target], used)
    failed, state, plan_out = check_failed_list(options.failed), check_state(state), options.plan_out
    is_shard = options.shard is not None
    check_prune(file.only(options.only), has_state=state is not None, is_shard=is_shard)
    if isinstance(plan_out, Path):
        plan_out = check_plan(plan_out, [*used, failed, *state_files(state)])
    environment = file.limited(options.environment)
    return replace(options, failed=failed, state=state, plan_out=plan_out, environment=environment)


class _Run:
    def __init__(self, options: MirrorJobsOptions, observe: Observer, clock: Clock, file: JobFile) -> None:
        self._options = options
        self._hide = options.hidden
        self._observe = hiding(observe, options.hidden) if file.has_variables else observe
        self._clock = clock
        self._file = file
        self._jobs = file.only(options.only)
        self._variables = options.environment.variables
        self._notices: list[str] = []
        self._disk = Disk()
        self._state = NO_STATE
        self._started = time.monotonic()

    @classmethod
    async def prepare(cls, options: MirrorJobsOptions, observe: Observer, clock: Clock, file: JobFile) -> _Run:
        """Check the options; raises UsageError."""
        options = await in_thread(checked_options, options, file)
        run = cls(options.for_file(), observe, clock, file)
        if note := options.limits.note(options.jobs):
            run._notice(note)
        return run

    async def run(self) -> JobsReport:
        """Choose the images of all jobs, copy them, delete tags that are not chosen any more, and report."""
        # One run has the state from its first job to its last.
        async with State.opened(self._options.state, self._disk, self._notice, self._clock.wall) as self._state:
            return await self._run()

    async def _run(self) -> JobsReport:
        plan = None if self._options.plan is None else await in_thread(read_plan, self._options.plan)
        chosen = await (self._choose() if plan is None else self._planned(plan, self._options.plan))
        check_targets(chosen)
        await check_lists(chosen, self._choosers)
        deletions = None if plan is None else planned_deletions(plan, self._jobs, self._variables)
        # The images of a plan tell nothing of what the jobs choose now.
        deciding = await self._choose() if deletions else chosen
        self._begin([MirrorOutcome(whole_line(entry), "planned") for one in chosen for entry in one.entries])
        reports = [await self._mirror(one) for one in chosen]
        if deletions is None or deletions:
            pruning = Pruning(self._options, self._file, self._state, self._observe, self._notice, self._clock)
            reports = await pruning.run(deciding, reports, deletions)
        if self._file.has_variables:
            reports = [shown(report, self._hide) for report in reports]
        failed_list = None
        if not self._options.is_dry:
            lines = [line for report in reports for line in report.failed_lines]
            failed_list = await write_failed_list(self._options.failed, lines, self._notice, self._disk)
        tell_remarks(self._disk, self._notice)
        options, seconds = self._options, time.monotonic() - self._started
        report = JobsReport(tuple(reports), seconds, options.is_dry, options.check, failed_list, tuple(self._notices))
        if options.plan_out is not None:
            await write_plan(options.plan_out, report, options.config, self._disk)
        return report

    async def _planned(self, plan: Plan, path: Path | None) -> list[ChosenJob]:
        """Return the images of a plan, and tell which of their tags have moved since."""
        entries = await in_thread(planned_entries, plan, path, self._file, self._variables)
        shard = self._options.chosen_shard
        parts = {
            name: [one for one in all_ if shard is None or one.target.name in shard] for name, all_ in entries.items()
        }
        chosen = [ChosenJob(job, (), (), tuple(parts.get(job.name, ()))) for job in self._jobs]
        try:
            async with self._choosers() as chooser_of:
                moved = [move for one in chosen for move in await (await chooser_of(one.job)).moved(one.entries)]
            for entry, digest in moved:
                was = "is gone" if digest is None else f"is {digest.short} now"
                self._notice(f"{entry.source.name}:{entry.source.tag} {was}, and was {entry.source.digest} in the plan")
        except BaseExceptionGroup as group:
            raise the_error(group) from group
        return [replace(one, images=[entry.text for entry in one.entries]) for one in chosen]

    def _choosers(self) -> AbstractAsyncContextManager[Callable[[Job], Awaitable[Chooser]]]:
        return choosers(self._options, self._jobs, self._observe, self._notice, self._clock, self._state)

    def _begin(self, planned: Sequence[MirrorOutcome]) -> None:
        self._observe(RunStarted(len(planned), self._options.limits.requests, planned))

    async def _choose(self) -> list[ChosenJob]:
        # Lists are read before anything is asked for.
        shard = self._options.chosen_shard
        lists = {job.name: (await in_thread(read_list, job)).part(shard) for job in self._jobs if job.list is not None}
        chosen = []
        try:
            async with self._choosers() as chooser_of:
                for job in self._jobs:
                    if job.list is not None:
                        listed = lists[job.name]
                        chosen.append(ChosenJob(job, (), job.list, listed.entries, bool(listed.invalid)))
                        continue
                    choices = await (await chooser_of(job)).choose(job)
                    lines = [line for choice in choices for line in choice.lines]
                    entries = (await in_thread(mirrorlist.parse, lines, MirrorNames())).entries
                    chosen.append(ChosenJob(job, choices, lines, entries))
                    self._tell_empty(job, choices)
        except BaseExceptionGroup as group:
            raise the_error(group) from group
        return chosen

    def _tell_empty(self, job: Job, choices: Iterable[RepositoryChoice]) -> None:
        for choice in choices:
            if choice.selection is not None and not choice.tags:
                listed = len(choice.selection.listed)
                self._notice(f"job {job.name} chooses none of the {listed:,} tags of {choice.name}")

    async def _mirror(self, chosen: ChosenJob) -> JobReport:
        job = chosen.job
        if not chosen.entries:
            return JobReport(job.name, chosen.choices)
        try:
            options = self._options_of(chosen)
            report = await mirror_job(options, job.name, self._state, self._pass_on, clock=self._clock)
        except HangarError as error:
            if error.ends_run or isinstance(error, UsageError):
                raise
            return JobReport(job.name, chosen.choices, error=error, missed=chosen.entries)
        return JobReport(job.name, chosen.choices, report)

    def _options_of(self, chosen: ChosenJob) -> MirrorOptions:
        job, options = chosen.job, self._options
        return MirrorOptions(
            images=chosen.images,
            list_name="" if isinstance(chosen.images, Path) else f"job {job.name}",
            architectures=job.platforms or ("all",),
            systems=("all",),
            template=job.to if isinstance(chosen.images, Path) else None,
            default_project="",
            lenient=options.lenient,
            jobs=options.jobs,
            blobs_per_image=options.blobs_per_image,
            requests=options.requests,
            index=job.index,
            overwrite="never" if job.keeps else "moved",
            include_foreign=options.include_foreign,
            platform_tags=options.platform_tags,
            create={name: options.creation(made) for name, made in self._file.creations.items()},
            shard=options.shard,
            cluster=options.cluster,
            cluster_tls=options.cluster_tls,
            cluster_insecure=options.cluster_insecure,
            dry_run=options.is_dry,
            needs=options.plan_out is not None,
            verify_bytes=options.verify_bytes,
            recheck=options.recheck,
            referrers=job.referrers,
            recheck_referrers=options.recheck_referrers,
            required_referrers=job.required,
            gate=job.gate,
            environment=options.environment.with_credentials(job.credentials),
        )

    def _pass_on(self, event: Event) -> None:
        """Pass on the events of a job but those that are of the whole run."""
        if not isinstance(event, RunStarted | MirrorEnded):
            self._observe(event)

    def _notice(self, text: str) -> None:
        self._notices.append(self._hide(text))
        self._observe(Notice(text))
