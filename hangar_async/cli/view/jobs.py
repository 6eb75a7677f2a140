"""The lines after the jobs of a file, and the reasons of their choices."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from hangar_async.cli.view.summary import mirror_remarks, quota_rows, sent_rows
from hangar_async.cli.view.text import (
    PROGRAM,
    command_text,
    count_text,
    error_text,
    one_line,
    size_text,
    time_text,
)

if TYPE_CHECKING:
    from hangar_async.config.job_file_options import MirrorJobsOptions
    from hangar_async.engine.jobs.explain import Explanation
    from hangar_async.engine.jobs.report import JobReport, JobsReport, RepositoryChoice
    from hangar_async.engine.outcomes import PrunedTag
    from hangar_async.engine.reports import Report

#: The tags that fell at a filter of which a dry run names some.
_EXAMPLES = 3
_STATES = {
    "copied": "copied",
    "planned": "would be copied",
    "unchanged": "unchanged",
    "kept": "kept although they differ",
    "failed": "failed",
}
_PRUNED = {"deleted": "deleted", "planned": "would delete", "left": "not deleted", "failed": "failed"}


def after_jobs(report: JobsReport, options: MirrorJobsOptions) -> Iterator[tuple[str, str]]:
    """Make the lines of the summary of jobs."""
    for job in report.jobs:
        yield from _job(job, dry=report.dry)
    if not report.dry:
        yield from sent_rows(report.whole.sent)
    yield from quota_rows(report.whole)
    if options.plan_out is not None:
        need = report.need
        if not callable(options.plan_out):
            yield "plan", one_line(str(options.plan_out))
        yield "would send", f"{count_text(need.blobs, 'blob')}, {size_text(need.bytes)}; {need.mounts:,} mounted"
    yield "time", time_text(report.seconds)
    if report.check:
        same = "nothing differs" if report.status == 0 else "nothing differs of what could be asked for"
        yield "check", "images differ" if report.differs else same


def _job(job: JobReport, *, dry: bool) -> Iterator[tuple[str, str]]:
    outcomes = () if job.report is None else job.report.outcomes
    states = Counter(outcome.state for outcome in outcomes if outcome.same_as is None)
    words = [f"{count:,} {_STATES[state]}" for state, count in states.items()]
    if job.immutable:
        words.append(f"{job.immutable:,} immutable")
    yield "job", one_line(f"{job.name}: {', '.join(words) or 'no image'}")
    if dry:
        for choice in job.choices:
            yield from _filters(choice)
        for outcome in outcomes:
            if outcome.state == "planned":
                yield "image", one_line(f"{outcome.entry.source} -> {outcome.entry.target}")
    for choice in job.refused:
        if choice.error is not None:
            yield "failed", one_line(f"{choice.name}: {choice.error.reason}")
            yield "", error_text(choice.error)
    yield from _pruned(job.pruned)
    if job.error is not None:
        yield "failed", error_text(job.error)
    if job.report is not None:
        yield from mirror_remarks(job.report)


def _pruned(tags: Iterable[PrunedTag]) -> Iterator[tuple[str, str]]:
    """Tell which tags were deleted, and why others stay, those of one reason together."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for one in tags:
        groups.setdefault((one.state, one.target.name, one.reason), []).append(str(one.target.tag))
    for (state, name, reason), names in groups.items():
        examples = ", ".join(names if state == "planned" else names[:_EXAMPLES])
        more = ", ..." if state != "planned" and len(names) > _EXAMPLES else ""
        because = f": {reason}" if reason else ""
        yield _PRUNED[state], one_line(f"{count_text(len(names), 'tag')} of {name}, {examples}{more}{because}")


def _filters(choice: RepositoryChoice) -> Iterator[tuple[str, str]]:
    """Tell how many tags of a repository fell at each filter, with examples."""
    if choice.selection is None:
        return
    listed = len(choice.selection.listed)
    found = len(choice.tags) - len(choice.selection.missing)
    yield "tags", one_line(f"{choice.name}: {found:,} of {listed:,} chosen")
    if missing := choice.selection.missing:
        yield "", one_line(f"{count_text(len(missing), 'tag')} not there: {', '.join(missing[:_EXAMPLES])}")
    for step in choice.selection.steps:
        if step.fallen:
            examples = ", ".join(step.fallen[:_EXAMPLES])
            more = ", ..." if len(step.fallen) > _EXAMPLES else ""
            yield "", one_line(f"{count_text(len(step.fallen), 'tag')} fell at {step.name}: {examples}{more}")


def next_jobs(report: JobsReport, options: MirrorJobsOptions) -> Iterator[tuple[str, str]]:
    """Make the lines after jobs; none when nothing failed."""
    failed = [job.name for job in report.jobs if not job.ok]
    if failed and not report.dry:
        names = [] if len(failed) == len(report.jobs) and not options.only else [*failed]
        yield "next", "to run the jobs that failed once more:"
        only = [word for name in names for word in ("--only", name)]
        yield "", command_text([PROGRAM, "mirror", "-c", str(options.config), *only])


def next_save(report: Report, _: object) -> Iterator[tuple[str, str]]:
    """Make the lines after a save of jobs; none when nothing failed."""
    if report.failed_list is not None:
        yield "next", f"the failed images are in {one_line(str(report.failed_list))}; the same command tries them again"


def explained(explanations: Iterable[Explanation]) -> Iterator[tuple[str, str]]:
    """Make the lines of the reasons for a tag."""
    for explanation in explanations:
        label = "job"
        for line in (explanation.job, *explanation.lines):
            yield label, one_line(line)
            label = ""
