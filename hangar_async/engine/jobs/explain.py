"""`explain_tag`: the reason why jobs choose a tag or do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.events import Notice, Observer, ignore
from hangar_async.engine.jobs.choose import ALL, Chooser, choosers
from hangar_async.engine.jobs.plan import read_list
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.reporting.hiding import hiding, shown, shown_errors
from hangar_async.errors import InvalidValue, UsageError, the_error
from hangar_async.jobfile.jobs import Job, Source
from hangar_async.jobfile.read import read
from hangar_async.oci import Reference
from hangar_async.threads import in_thread


@dataclass(frozen=True, slots=True)
class Explanation:
    """The lines that explain a job's choice of a tag."""

    job: str
    lines: tuple[str, ...]


async def explain_tag(
    options: MirrorJobsOptions, image: str, observer: Observer = ignore, *, clock: Clock | None = None
) -> tuple[Explanation, ...]:
    """Tell for each job that has the repository of an image what its filters say about the tag; nothing is sent.

    Raises UsageError for a wrong file, a wrong image, and one whose repository no job has; and HangarError where the
    tags cannot be listed.
    """
    try:
        reference = Reference.parse(image)
    except InvalidValue as error:
        raise UsageError(f"--explain: {error}") from error
    options = replace(options.noted().for_file(), shard=None)
    with shown_errors(options.hidden):
        explanations = await _explained(options, reference, hiding(observer, options.hidden), clock or Clock())
    return shown(explanations, options.hidden)


async def _explained(
    options: MirrorJobsOptions, reference: Reference, observer: Observer, clock: Clock
) -> tuple[Explanation, ...]:
    file = await in_thread(read, options.config, options.environment.variables)
    options = replace(options, environment=file.limited(options.environment))
    jobs = file.only(options.only)
    found = [(job, source) for job in jobs for source in job.sources if _has(source, reference)]
    listed = [explanation for job in jobs if (explanation := await in_thread(_listed, job, reference)) is not None]
    if not found and not listed:
        raise UsageError(f"no job of {file.name} has {reference.name}")
    try:
        async with choosers(options, jobs, observer, _notice(observer), clock) as chooser_of:
            explained = [await _explanation(await chooser_of(job), job, reference) for job, _ in found]
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    return (*explained, *listed)


def _notice(observer: Observer) -> Callable[[str], None]:
    return lambda text: observer(Notice(text))


def _has(source: Source, image: Reference) -> bool:
    return source.registry == image.registry and source.stars(image.repository) is not None


async def _explanation(chooser: Chooser, job: Job, image: Reference) -> Explanation:
    rules, tag = job.rules or ALL, image.tag or ""
    if (names := rules.names) is not None:
        return Explanation(job.name, ("chosen: it is named" if tag in names else "not chosen: other tags are named",))
    selection = await chooser.select(rules, image, 0)
    return Explanation(job.name, tuple(selection.explain(tag)))


def _listed(job: Job, image: Reference) -> Explanation | None:
    """Explain a tag by the list of a job; None where there is none, or it does not have the repository."""
    if job.list is None:
        return None
    entries = [entry for entry in read_list(job).entries if entry.source.name == image.name]
    lines = [f"chosen: line {entry.line} of {job.list} names it" for entry in entries if entry.source.tag == image.tag]
    return Explanation(job.name, tuple(lines or ["not chosen: no line names it"])) if entries else None
