"""Plans of jobs: documents of the images that a run would copy, for a later run that copies exactly these."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeAlias

import msgspec

from hangar_async import __version__, mirrorlist
from hangar_async.config.naming import MirrorNames
from hangar_async.config.output import ReportTarget
from hangar_async.config.variables import shown_values
from hangar_async.disk import Disk
from hangar_async.engine.jobs.report import JobReport, JobsReport
from hangar_async.engine.outcomes import Need, PrunedTag
from hangar_async.engine.outputs import check_output_file, check_outputs
from hangar_async.engine.reporting.hiding import shown
from hangar_async.engine.reporting.records import schema
from hangar_async.engine.reports import MirrorOutcome
from hangar_async.errors import UsageError
from hangar_async.filesystem import read_bounded
from hangar_async.jobfile.jobs import Job, JobFile
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Reference
from hangar_async.temporary import write_output
from hangar_async.threads import in_thread

#: The most bytes of a plan.
_LARGEST = 512 << 20
_KIND = b"hangar-async plan"
#: The bytes at the beginning of a plan that have its kind.
_BEGINNING = 200
#: A tag that a plan deletes: the names of its job and its repository, the tag, and its digest.
PlannedDeletion: TypeAlias = tuple[str, str, str, str]


class PlannedImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image that would be copied, by its digest, and its need at the target; `tag` is None for a digest alone."""

    source: str
    target: str
    tag: str | None
    digest: str
    blobs: int
    bytes: int
    mounts: int
    requests: int

    @property
    def line(self) -> str:
        """Its line `SOURCE DEST TAG@DIGEST`."""
        return f"{self.source} {self.target} {self.digest if self.tag is None else f'{self.tag}@{self.digest}'}"


class PlannedTag(msgspec.Struct, frozen=True, kw_only=True):
    """A tag that a job has put and does not choose any more; `reason` says why it stays, "" for one that would go."""

    target: str
    tag: str
    digest: str
    reason: str


class PlannedJob(msgspec.Struct, frozen=True, kw_only=True):
    """A job: the images that would be copied, and those that are right, kept, or could not be planned.

    `deleted` are tags that would be deleted, `left` those that would not, although the job does not choose them.
    """

    name: str
    images: list[PlannedImage]
    unchanged: int
    kept: int
    failed: list[str]
    deleted: list[PlannedTag] = []
    left: list[PlannedTag] = []


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """A plan of the jobs of a file; `bytes` and `requests` are sums."""

    kind: Literal["hangar-async plan"]
    version: Literal[1]
    program: str
    config: str
    made: str
    blobs: int
    bytes: int
    mounts: int
    requests: int
    jobs: list[PlannedJob]


def encode_plan(report: JobsReport, config: Path) -> bytes:
    """Make the plan of a dry run that has asked for the needs of its images, and return its text."""
    need = report.need
    plan = Plan(
        kind="hangar-async plan",
        version=1,
        program=f"hangar-async {__version__}",
        config=str(config),
        made=datetime.now(UTC).isoformat(timespec="seconds"),
        blobs=need.blobs,
        bytes=need.bytes,
        mounts=need.mounts,
        requests=need.requests,
        jobs=[_planned_job(job) for job in report.jobs],
    )
    return msgspec.json.format(msgspec.json.encode(plan), indent=1) + b"\n"


def _planned_job(job: JobReport) -> PlannedJob:
    outcomes = () if job.report is None else job.report.outcomes
    own = [outcome for outcome in outcomes if outcome.same_as is None]
    failed = [f"{choice.name}: {choice.error}" for choice in job.refused]
    failed += [f"{outcome.name}: {outcome.error}" for outcome in own if outcome.error is not None]
    failed += [] if job.error is None else [str(job.error)]
    return PlannedJob(
        name=job.name,
        images=[_planned_image(outcome, outcome.need) for outcome in own if outcome.need is not None],
        unchanged=job.immutable + sum(outcome.state == "unchanged" for outcome in own),
        kept=sum(outcome.state == "kept" for outcome in own),
        failed=failed,
        deleted=[_planned_tag(tag) for tag in job.pruned if tag.state == "planned"],
        left=[_planned_tag(tag) for tag in job.pruned if tag.state != "planned"],
    )


def _planned_tag(tag: PrunedTag) -> PlannedTag:
    target = tag.target
    return PlannedTag(target=target.name, tag=target.tag or "", digest=str(tag.digest), reason=tag.reason)


def _planned_image(outcome: MirrorOutcome, need: Need) -> PlannedImage:
    source, target = outcome.entry.source, outcome.entry.target
    return PlannedImage(
        source=source.name,
        target=target.name,
        tag=target.tag,
        digest=str(outcome.source_digest),
        blobs=need.blobs,
        bytes=need.bytes,
        mounts=need.mounts,
        requests=need.requests,
    )


def plan_schema() -> dict[str, Any]:
    """Return the JSON schema of plans."""
    return schema(Plan, "Plan of hangar-async")


async def write_plan(target: ReportTarget, report: JobsReport, config: Path, disk: Disk) -> None:
    """Write the plan of a dry run, or give it to the function that takes it; raises StorageError."""
    content = encode_plan(report, config)
    if callable(target):
        target(content.decode().rstrip("\n"))
    else:
        await in_thread(write_output, target, content, disk)


def check_plan(path: Path, used: Sequence[Path | None]) -> Path:
    """Return the path to which a plan is written, the one that a link leads to.

    Raises UsageError when it cannot be written, or another file has its name.
    """
    path = check_output_file(path, "the plan", "--plan-out")
    check_outputs([path], [one for one in used if one is not None])
    if path.exists() and path.stat().st_size and _KIND not in _beginning(path):
        raise UsageError(f"{path} is no plan and would be lost: write another name (--plan-out)")
    return path


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_BEGINNING)


def read_plan(path: Path) -> Plan:
    """Read a plan; raises UsageError."""
    try:
        return msgspec.json.decode(read_bounded(path, _LARGEST), type=Plan)
    except OSError as error:
        raise UsageError(f"cannot read the plan {path}: {error.strerror}") from error
    except (ValueError, RecursionError, msgspec.DecodeError) as error:
        raise UsageError(f"{path} is no plan of this version: {error}", advice="make one with --plan-out") from error


def planned_entries(
    plan: Plan, path: Path | None, file: JobFile, variables: Mapping[str, str]
) -> dict[str, tuple[MirrorEntry, ...]]:
    """Return the images of each job of a plan; raises UsageError for what the file does not say, or not any more."""
    resolve = partial(shown_values, variables=variables)
    jobs = {job.name: job for job in file.jobs}
    found: dict[str, tuple[MirrorEntry, ...]] = {}
    for planned in (shown(one, resolve) for one in plan.jobs):
        job = jobs.get(planned.name)
        if job is None:
            raise UsageError(f"{path} has a job {planned.name}, which {file.name} has not: make another plan")
        if planned.deleted and job.prune is None:
            raise UsageError(f"{path}: job {job.name} of {file.name} deletes no tags: make another plan")
        parsed = mirrorlist.parse([image.line for image in planned.images], MirrorNames(), str(path))
        if parsed.invalid:
            raise UsageError(f"{path} is no plan of this version: {parsed.invalid[0].why}")
        names = _names_of_list(job)
        for entry in parsed.entries:
            if not _is_of(job, entry, names):
                pair = f"{entry.source.name} to {entry.target.name}"
                raise UsageError(f"{path}: job {job.name} of {file.name} does not copy {pair}: make another plan")
        found[job.name] = parsed.entries
    return found


def planned_deletions(plan: Plan, jobs: Iterable[Job], variables: Mapping[str, str]) -> frozenset[PlannedDeletion]:
    """Return the tags that some jobs delete by a plan."""
    names = {job.name for job in jobs}
    resolved = [shown(job, partial(shown_values, variables=variables)) for job in plan.jobs]
    chosen = [job for job in resolved if job.name in names]
    return frozenset((job.name, one.target, one.tag, one.digest) for job in chosen for one in job.deleted)


def read_list(job: Job) -> mirrorlist.MirrorList:
    """Read the list of a job that has one; raises UsageError."""
    return mirrorlist.read(job.list or (), MirrorNames.parse(template=job.to, default_project=""))


def _names_of_list(job: Job) -> frozenset[tuple[str, str]]:
    if job.list is None:
        return frozenset()
    return frozenset((entry.source.name, entry.target.name) for entry in read_list(job).entries)


def _is_of(job: Job, entry: MirrorEntry, names: frozenset[tuple[str, str]]) -> bool:
    """Tell whether a job copies the repository of an image to this target."""
    if job.list is not None:
        return (entry.source.name, entry.target.name) in names
    image = Reference(entry.source.registry, entry.source.repository)
    return any(
        source.registry == image.registry
        and source.stars(image.repository) is not None
        and job.target(source, image).name == entry.target.name
        for source in job.sources
    )
