"""`watch_jobs`: the jobs of a file at their times, one after the other, for years."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.disk import Disk
from hangar_async.engine.events import Event, JobEnded, JobScheduled, JobStarted, Notice, Observer, Reloaded, ignore
from hangar_async.engine.jobs.counts import JobCounts
from hangar_async.engine.jobs.run import checked_options, mirror_file
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.outputs import tell_remarks, write_failed_list
from hangar_async.engine.reporting.hiding import shown_errors
from hangar_async.errors import HangarError, StorageError, UsageError, the_error
from hangar_async.jobfile.jobs import Job, JobFile
from hangar_async.jobfile.read import read
from hangar_async.jobfile.schedule import Schedule
from hangar_async.tasks import first_of
from hangar_async.threads import in_thread

if TYPE_CHECKING:
    from hangar_async.server.job_metrics import JobMetrics

#: The longest wait in one piece, in seconds: the clock may be put forward or back, and the machine may sleep.
_LONGEST_WAIT = 60.0
#: The seconds after which a job begins again that has broken off.
_AGAIN = 600.0


async def watch_jobs(
    options: MirrorJobsOptions,
    observer: Observer = ignore,
    *,
    clock: Clock | None = None,
    reload: asyncio.Event | None = None,
    share: Callable[[], float] = random.random,
) -> NoReturn:
    """Run the jobs of a file at their times until it is cancelled: one at a time, each as `mirror_jobs` runs it.

    The state knows the last start of each job. A start that comes while its job is under way is passed over and told.
    Setting `reload`, which is cleared then, reads the file again: a wrong one is told, and the last one stays in use.
    A job that breaks off is told, and begins again after ten minutes at the latest. `share` draws the part of the
    jitter, from 0 to 1. Raises UsageError for a wrong file, before any request, and for one none of whose jobs has a
    schedule; ListenError where the address of the numbers cannot be had.
    """
    clock = clock or Clock()
    options = options.noted()
    with shown_errors(options.hidden):
        file = await in_thread(read, options.config, options.environment.variables)
    options = replace(options, metrics=options.metrics or file.outputs.metrics)
    metrics = None if options.metrics_address is None else _metrics(options)
    observe = observer if metrics is None else _both(JobCounts(metrics, clock), observer)
    watch = await _Watch.prepare(options, file, observe, clock, share, metrics)
    try:
        async with _serving(metrics, options, watch), asyncio.TaskGroup() as group:
            group.create_task(watch.read_again(reload or asyncio.Event()))
            await watch.run()
    except BaseExceptionGroup as error:
        raise the_error(error) from error
    raise AssertionError("a watch has no end")


def _metrics(options: MirrorJobsOptions) -> JobMetrics:
    from hangar_async.server.job_metrics import JobMetrics  # few want them

    return JobMetrics(options.hidden)


def _both(first: Observer, second: Observer) -> Observer:
    def observe(event: Event) -> None:
        first(event)
        second(event)

    return observe


@asynccontextmanager
async def _serving(metrics: JobMetrics | None, options: MirrorJobsOptions, watch: _Watch) -> AsyncIterator[None]:
    if metrics is None or options.metrics_address is None:
        yield
        return
    async with metrics.serving(*options.metrics_address, lambda: watch.problem):
        yield


@dataclass(slots=True)
class _Standing:
    """A job, and the time of its next start."""

    job: Job
    schedule: Schedule
    due: float


class _Watch:
    def __init__(
        self,
        options: MirrorJobsOptions,
        observe: Observer,
        clock: Clock,
        share: Callable[[], float],
        starts: dict[str, float],
        metrics: JobMetrics | None,
    ) -> None:
        #: The reason why the jobs are not those of the file, "" for none.
        self.problem = ""
        self._metrics = metrics
        #: The options that were given, and these with the outputs and the state of the file.
        self._given = self._options = options
        self._observe = observe
        self._clock = clock
        self._share = share
        self._starts = starts
        self._standing: dict[str, _Standing] = {}
        self._failed: dict[str, Sequence[str]] = {}
        self._changed = asyncio.Event()

    @classmethod
    async def prepare(
        cls,
        options: MirrorJobsOptions,
        file: JobFile,
        observe: Observer,
        clock: Clock,
        share: Callable[[], float],
        metrics: JobMetrics | None,
    ) -> _Watch:
        """Check the options and the file, and read the last starts; raises UsageError."""
        _scheduled(options, file)
        checked = await in_thread(_checked, options, file)
        starts: dict[str, float] = {}
        try:
            if checked.state is not None:
                starts = await in_thread(_read_starts, checked.state)
        except StorageError as error:
            observe(Notice(f"{error}: {error.advice}"))
        watch = cls(options, observe, clock, share, starts, metrics)
        watch._take(checked, file)
        return watch

    async def run(self) -> NoReturn:
        """Begin each job at its time."""
        while True:
            now = self._clock.wall()
            for one in self._standing.values():
                one.due = min(one.due, one.schedule.latest(now))
            standing = min(self._standing.values(), key=lambda one: one.due)
            if standing.due <= now:
                await self._begin(standing.job)
                continue
            seconds = min(standing.due - now, _LONGEST_WAIT)
            self._changed.clear()
            await first_of(lambda: self._clock.sleep(seconds), self._changed.wait)  # noqa: B023 - it ends here

    async def read_again(self, reload: asyncio.Event) -> NoReturn:
        """Read the file again whenever that is asked for."""
        while True:
            await reload.wait()
            reload.clear()
            try:
                file = await in_thread(read, self._options.config, self._options.environment.variables)
                self._take(await in_thread(_checked, self._given, file), file)
            except HangarError as error:
                self.problem = "the job file is wrong; the jobs of the last reading stay in use"
                self._notice(f"{self._options.hidden(str(error))}; the jobs of the last reading stay in use")
                if self._metrics is not None:
                    self._metrics.read(right=False)
                continue
            self._observe(Reloaded(f"the jobs of {self._options.config}"))
            self._changed.set()

    def _take(self, options: MirrorJobsOptions, file: JobFile) -> None:
        """Take the jobs of a file, and the options with its outputs, in place of those before; raises UsageError."""
        # A file without schedules changes nothing.
        scheduled = _scheduled(options, file)
        now, before = self._clock.wall(), self._standing
        self._options, self._standing = options, {}
        for job, schedule in scheduled:
            known = before.get(job.name)
            if known is not None and known.schedule == schedule:
                due = known.due
            else:
                due = schedule.first(self._starts.get(job.name), now)
                due = schedule.spread(due, self._share()) if due > now else due
            self._standing[job.name] = _Standing(job, schedule, due)
            if known is None or known.due != due:
                self._observe(JobScheduled(job.name, due))
        self._file, self.problem = file, ""
        if self._metrics is not None:
            self._metrics.read(right=True)
            self._metrics.keep(self._standing)

    async def _begin(self, job: Job) -> None:
        """Run a job to its end, and find its next time."""
        start = self._starts[job.name] = self._clock.wall()
        self._observe(JobStarted(job.name))
        ended = await self._run(job, self._file, start)
        self._observe(ended)
        # The file may be another one by now.
        if (standing := self._standing.get(job.name)) is not None:
            due, passed = standing.schedule.following(start, self._clock.wall())
            standing.due = standing.schedule.spread(due, self._share())
            if ended.error:
                # Another run may have the state, or the disk be full: neither lasts until tomorrow.
                standing.due = min(standing.due, self._clock.wall() + _AGAIN)
            self._observe(JobScheduled(job.name, standing.due, passed))

    async def _run(self, job: Job, file: JobFile, start: float) -> JobEnded:
        options = replace(self._options, only=(job.name,), failed=None)
        try:
            await self._note_start(job, start)
            report = await mirror_file(options, file, self._observe, clock=self._clock)
        except HangarError as error:
            return JobEnded(job.name, 2 if isinstance(error, UsageError) else 3, str(error), error.reason)
        self._failed[job.name] = [line for one in report.jobs for line in one.failed_lines]
        lines = chain.from_iterable(self._failed.get(name, ()) for name in self._standing)
        disk = Disk()
        await write_failed_list(self._options.failed, lines, self._notice, disk)
        tell_remarks(disk, self._notice)
        return JobEnded(job.name, report.status)

    async def _note_start(self, job: Job, start: float) -> None:
        """Note the start in the state, which may be lost; raises UsageError where another run has it."""
        if self._options.state is None:
            return
        try:
            await in_thread(_note_start, self._options.state, job.name, start)
        except StorageError as error:
            self._notice(f"{error}: {error.advice}")

    def _notice(self, text: str) -> None:
        self._observe(Notice(text))


def _checked(options: MirrorJobsOptions, file: JobFile) -> MirrorJobsOptions:
    """Return the options with the outputs and the state of the file; raises UsageError. Synchronous, for a thread."""
    return checked_options(options.with_outputs(file.outputs.json, file.outputs.failed, None), file)


def _scheduled(options: MirrorJobsOptions, file: JobFile) -> list[tuple[Job, Schedule]]:
    """Return the jobs that have a schedule; raises UsageError where none has one."""
    found = [(job, job.schedule) for job in file.only(options.only) if job.schedule is not None]
    if not found:
        raise UsageError(f"{file.name}: no job has a time at which it begins: write `every` or `cron` (--watch)")
    return found


def _read_starts(state: Path) -> dict[str, float]:
    # Imported late, as the database of a state is everywhere.
    from hangar_async.state.starts import read_starts

    return read_starts(state, Disk())


def _note_start(state: Path, job: str, start: float) -> None:
    from hangar_async.state.starts import note_start

    note_start(state, Disk(), job, start)
