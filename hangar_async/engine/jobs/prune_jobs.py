"""The removal of tags at the end of a run: for each job with `prune`, when all jobs have copied their images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.events import Observer
from hangar_async.engine.jobs.candidates import Candidate, find_candidates
from hangar_async.engine.jobs.prune import Pruner
from hangar_async.engine.jobs.report import ChosenJob, JobReport
from hangar_async.engine.limits.hosts import Clock
from hangar_async.errors import the_error
from hangar_async.jobfile.jobs import Job, JobFile
from hangar_async.oci import Digest
from hangar_async.state.hints import State
from hangar_async.threads import in_thread


def check_prune(jobs: Sequence[Job], *, has_state: bool) -> None:
    """Raise UsageError for a job that would remove tags, and has no state that says which are its own."""
    for job in jobs:
        if job.prune is not None and not has_state:
            job.place.refuse(f"job {job.name} has `prune`, which needs a state: write `state: FILE`, or --state")


async def prune_jobs(
    options: MirrorJobsOptions,
    file: JobFile,
    chosen: Sequence[ChosenJob],
    reports: Sequence[JobReport],
    state: State,
    observe: Observer,
    notice: Callable[[str], None],
    clock: Clock,
) -> list[JobReport]:
    """Delete the tags that jobs have put and do not choose any more; return the reports with what came of them.

    `chosen` and `reports` are the jobs of the run, in one order. Raises HangarErrors that end the run.
    """
    names = {one.job.name for one in chosen}
    others = [job for job in file.jobs if job.name not in names]
    outcomes = [outcome for report in reports for outcome in report.outcomes]
    failed = {outcome.entry.target.name for outcome in outcomes if outcome.error is not None}
    found: dict[str, list[Candidate]] = {}
    for one in chosen:
        if one.job.prune is not None and (puts := await state.put_by(one.job.name)):
            found[one.job.name] = await in_thread(
                find_candidates, one, puts, chosen, others, failed, anyway=options.prune_anyway
            )
    if not any(found.values()):
        return list(reports)
    known: dict[tuple[str, str], Digest] = {}
    for outcome in outcomes:
        digest = outcome.source_digest if outcome.state == "planned" else outcome.digest
        if digest is not None and outcome.error is None:
            known[outcome.entry.target.name, outcome.entry.target.tag or ""] = digest
    registries = {one.put.target.registry for candidates in found.values() for one in candidates}
    pruned = []
    try:
        async with Pruner.opened(options, registries, state, known, observe, notice, clock) as pruner:
            for one, report in zip(chosen, reports, strict=True):
                rules, candidates = one.job.prune, found.get(one.job.name)
                tags = await pruner.prune(rules, candidates) if rules is not None and candidates else ()
                pruned.append(replace(report, pruned=tags))
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    return pruned
