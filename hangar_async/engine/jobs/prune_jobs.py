"""The removal of tags at the end of a run: for each job with `prune`, when all jobs have copied their images."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.events import Observer
from hangar_async.engine.jobs.candidates import Candidate, find_candidates
from hangar_async.engine.jobs.plan import PlannedDeletion
from hangar_async.engine.jobs.prune import Pruner
from hangar_async.engine.jobs.report import ChosenJob, JobReport
from hangar_async.engine.limits.hosts import Clock
from hangar_async.errors import the_error
from hangar_async.jobfile.jobs import Job, JobFile
from hangar_async.oci import Digest
from hangar_async.state.hints import State
from hangar_async.threads import in_thread


def check_prune(jobs: Sequence[Job], *, has_state: bool, is_shard: bool = False) -> None:
    """Raise UsageError for a job that would remove tags, and has no state that says which are its own.

    A shard removes none: it does not know what the others choose.
    """
    for job in jobs:
        if job.prune is not None and is_shard:
            job.place.refuse(
                f"job {job.name} has `prune`, which a shard cannot do: leave out --shard, or --only others"
            )
        if job.prune is not None and not has_state:
            job.place.refuse(f"job {job.name} has `prune`, which needs a state: write `state: FILE`, or --state")


class Pruning:
    """Deletes the tags that jobs of a run have put and do not choose any more."""

    def __init__(
        self,
        options: MirrorJobsOptions,
        file: JobFile,
        state: State,
        observe: Observer,
        notice: Callable[[str], None],
        clock: Clock,
    ) -> None:
        self._options = options
        self._file = file
        self._state = state
        self._observe = observe
        self._notice = notice
        self._clock = clock

    async def run(
        self, chosen: Sequence[ChosenJob], reports: Sequence[JobReport], planned: Collection[PlannedDeletion] | None
    ) -> list[JobReport]:
        """Delete tags, and return the reports of the jobs with what came of them.

        `chosen` and `reports` are the jobs, in one order; where tags are `planned`, no others are deleted. Raises
        HangarErrors that end the run.
        """
        found = await self._candidates(chosen, reports)
        if planned is not None:
            found = {name: [one for one in of_job if _key(name, one) in planned] for name, of_job in found.items()}
            for missed in sorted(set(planned) - {_key(name, one) for name, ones in found.items() for one in ones}):
                self._notice(f"{missed[1]}:{missed[2]} stays: it is chosen or kept now, or not the job's any more")
        if not any(found.values()):
            return list(reports)
        registries = {one.put.target.registry for candidates in found.values() for one in candidates}
        known = _known(reports)
        pruned = []
        try:
            for one, report in zip(chosen, reports, strict=True):
                rules, candidates = one.job.prune, found.get(one.job.name)
                if rules is None or not candidates:
                    pruned.append(replace(report, pruned=()))
                    continue
                options = self._options.with_credentials(one.job.credentials)
                async with Pruner.opened(
                    options, registries, self._state, known, self._observe, self._notice, self._clock
                ) as pruner:
                    pruned.append(replace(report, pruned=await pruner.prune(rules, candidates)))
        except BaseExceptionGroup as group:
            raise the_error(group) from group
        return pruned

    async def _candidates(
        self, chosen: Sequence[ChosenJob], reports: Iterable[JobReport]
    ) -> dict[str, list[Candidate]]:
        names = {one.job.name for one in chosen}
        others = [job for job in self._file.jobs if job.name not in names]
        outcomes = [outcome for report in reports for outcome in report.outcomes]
        failed = {outcome.entry.target.name for outcome in outcomes if outcome.error is not None}
        found: dict[str, list[Candidate]] = {}
        for one in chosen:
            if one.job.prune is not None and (puts := await self._state.put_by(one.job.name)):
                anyway = self._options.prune_anyway
                found[one.job.name] = await in_thread(find_candidates, one, puts, chosen, others, failed, anyway=anyway)
        return found


def _key(job: str, candidate: Candidate) -> PlannedDeletion:
    put = candidate.put
    return job, put.target.name, put.target.tag or "", str(put.digest)


def _known(reports: Iterable[JobReport]) -> dict[tuple[str, str], Digest]:
    """Return what the tags name that the run has seen or put, or would put."""
    known: dict[tuple[str, str], Digest] = {}
    for report in reports:
        for outcome in report.outcomes:
            digest = outcome.source_digest if outcome.state == "planned" else outcome.digest
            if digest is not None and outcome.error is None:
                known[outcome.entry.target.name, outcome.entry.target.tag or ""] = digest
    return known
