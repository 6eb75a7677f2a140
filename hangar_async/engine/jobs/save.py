"""`save_jobs`: the images that the jobs of a file choose, saved as a list is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from hangar_async.archive.names import incomplete_path
from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.config.options import SaveOptions
from hangar_async.engine.events import Notice, Observer, ignore
from hangar_async.engine.jobs.choose import Chooser
from hangar_async.engine.jobs.plan import read_list
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.outputs import check_destination, check_failed_list, check_outputs
from hangar_async.engine.reporting.hiding import hiding, shown, shown_errors
from hangar_async.engine.reporting.journal import check_reported
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from hangar_async.errors import UsageError, the_error
from hangar_async.jobfile.jobs import Job
from hangar_async.jobfile.read import read
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.threads import in_thread


async def save_jobs(
    options: SaveOptions,
    config: Path,
    only: Sequence[str] = (),
    observer: Observer = ignore,
    *,
    clock: Clock | None = None,
) -> Report:
    """Save the images that the jobs of a file choose, all jobs for no names in `only`.

    The images of the options do not count, nor do the targets of the jobs. The platforms and referrers are those of the
    jobs, which must be the same for all of them. Raises UsageError for a wrong file, or jobs of other platforms; the
    error of a repository whose tags cannot be listed, since an archive without it is not that of the file; and as
    `save` does.
    """
    environment = options.environment.noted()
    options = replace(options, environment=environment)
    with shown_errors(environment.hidden):
        report = await _save(options, config, only, hiding(observer, environment.hidden), clock)
    return shown(report, environment.hidden)


async def _save(
    options: SaveOptions, config: Path, only: Sequence[str], observer: Observer, clock: Clock | None
) -> Report:
    file = await in_thread(read, config, options.environment.variables)
    jobs = file.only(only)
    platforms, referrers, credentials = _shared(jobs)
    await _check(options, [config, *file.inputs])
    options = replace(
        options,
        architectures=platforms or ("all",),
        systems=(),
        referrers=referrers,
        source=None,
        list_name=str(config),
    )
    limited = file.limited(options.environment).with_credentials(credentials)
    environment = replace(limited, source_registry=None)
    lines = await _lines(replace(options, environment=environment), jobs, config, observer, clock or Clock())
    return await save(replace(options, environment=environment, images=lines), observer, clock=clock)


async def _check(options: SaveOptions, inputs: Sequence[Path]) -> None:
    """Raise UsageError for an output that cannot be written, or names one of the files that the jobs are read from."""
    output = await in_thread(check_destination, options)
    failed = await in_thread(check_failed_list, options.failed)
    report = await check_reported(options)
    outputs = [] if output.is_stream else [output.target, incomplete_path(output.target)]
    await in_thread(check_outputs, [*outputs, failed, report if isinstance(report, Path) else None], inputs)


def _shared(jobs: Iterable[Job]) -> tuple[tuple[str, ...], str, Path | None]:
    """Return the platforms, referrers and credentials of all jobs; raises UsageError where they are not the same."""
    jobs = tuple(jobs)
    for job in jobs:
        if job.gate is not None or job.required:
            raise UsageError(
                f"job {job.name} has a gate or requires referrers, which a save does not judge",
                advice="save from the registry that mirror --config has filled",
            )
    first, *others = [(job.name, (job.platforms, job.referrers, job.credentials)) for job in jobs]
    for name, values in others:
        if values != first[1]:
            reason = "want other platforms, referrers or credentials"
            raise UsageError(f"jobs {first[0]} and {name} {reason}: save them one by one with --only")
    return first[1]


async def _lines(
    options: SaveOptions, jobs: Sequence[Job], config: Path, observer: Observer, clock: Clock
) -> list[str]:
    """List the images of the jobs; raises the first error of a repository."""
    lines: dict[str, None] = {}
    # Before anything is asked for.
    listed = {job.name: await _entries(job, options, observer) for job in jobs if job.list is not None}
    chosen_by = MirrorJobsOptions(
        config=config,
        jobs=options.jobs,
        blobs_per_image=options.blobs_per_image,
        requests=options.requests,
        environment=options.environment,
    )
    try:
        async with Chooser.opened(chosen_by, jobs, observer, lambda text: observer(Notice(text)), clock) as chooser:
            for job in jobs:
                lines.update((str(entry.source), None) for entry in listed.get(job.name, ()))
                for choice in await chooser.choose(job):
                    if choice.error is not None:
                        raise choice.error
                    lines.update((f"{choice.source.name}:{tag}", None) for tag in choice.tags)
    except BaseExceptionGroup as group:
        raise the_error(group) from group
    return list(lines)


async def _entries(job: Job, options: SaveOptions, observer: Observer) -> Sequence[MirrorEntry]:
    """Read the list of a job; raises UsageError for an invalid line, which with `lenient` is a notice."""
    listed = await in_thread(read_list, job)
    if listed.invalid and not options.lenient:
        raise UsageError(str(listed.invalid[0]), advice="correct the line, or write --lenient")
    for line in listed.invalid:
        observer(Notice(str(line)))
    return listed.entries
