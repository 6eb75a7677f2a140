"""The jobs of a file, as `hangar-async mirror --config` runs them."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangar_async.errors import UsageError

if TYPE_CHECKING:
    from hangar_async.config.job_file_options import MirrorJobsOptions
    from hangar_async.config.options import SaveOptions

#: The seconds after a signal in which a watch has ended; container runtimes kill after 30.
_PATIENCE = 24.0
#: Flags of `mirror` whose values stand in a job file, with their defaults.
_IN_THE_FILE: Mapping[str, object] = {
    "IMAGE": None,
    "--file": None,
    "--arch": ["amd64,arm64"],
    "--os": ["linux,windows"],
    "--source": None,
    "--destination": None,
    "--to": None,
    "--index": "auto",
    "--referrers": "all",
    "--overwrite": "moved",
    "--default-project": "library",
    "--repo-type": None,
    "--ecr-immutable-tags": False,
    "--ecr-lifecycle": None,
}


def check_flags(config: str | None, listed: Mapping[str, Any], others: Mapping[str, Any]) -> None:
    """Raise UsageError for a flag that has no meaning: `listed` beside a job file, `others` without one."""
    if config is None:
        for flag, value in others.items():
            if value:
                raise UsageError(f"{flag} needs a job file: write --config FILE too")
        return
    for flag, value in listed.items():
        if value not in (_IN_THE_FILE[flag], [], None):
            raise UsageError(f"{flag} stands in the job file: leave it out beside --config")


def check_watch(once: Mapping[str, Any], *, watch: bool, metrics: str | None) -> None:
    """Raise UsageError for a flag of a single run beside `--watch`, and for one of a watch without it."""
    if metrics is not None and not watch:
        raise UsageError("--metrics has a meaning beside --watch alone: write both")
    for flag, value in once.items():
        if watch and value:
            raise UsageError(f"{flag} is for a single run: leave it out beside --watch")


def watch(options: MirrorJobsOptions, *, quiet: bool, verbose: bool) -> int:
    """Run the jobs at their times until a signal ends it, with lines for a log, and return the exit status."""
    import asyncio
    import signal

    from hangar_async.cli.loop import line_view, run_until_done
    from hangar_async.engine.jobs.watch import watch_jobs

    options = _hidden(options)
    view, reload = line_view(quiet, verbose), asyncio.Event()
    run_until_done(
        lambda: watch_jobs(options, view, reload=reload),
        view.say,
        "what was copied stays at its registry",
        # A service manager ends with it what has done its work.
        regular={signal.SIGTERM},
        reload=reload.set,
        patience=_PATIENCE,
    )
    return 0


def run_jobs(options: MirrorJobsOptions, *, quiet: bool, verbose: bool) -> int:
    """Run the jobs with a view, write what came of them, and return the exit status."""
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.jobs import after_jobs, next_jobs
    from hangar_async.engine.jobs.run import mirror_jobs

    options = _hidden(options)
    remains = "what was copied stays at its registry"
    return run_verb(mirror_jobs, options, after_jobs, next_jobs, quiet=quiet, verbose=verbose, remains=remains).status


def _hidden(options: MirrorJobsOptions) -> MirrorJobsOptions:
    """Return options whose variables are hidden in all that goes to standard error, the log too."""
    from hangar_async.cli.view.stream import hide

    options = options.noted()
    hide(sys.stderr, options.hidden)
    return options


def save_chosen(options: SaveOptions, config: str, only: Sequence[str], *, quiet: bool, verbose: bool) -> int:
    """Save the images that the jobs of a file choose, with a view, and return the exit status."""
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.jobs import next_save
    from hangar_async.cli.view.stream import hide
    from hangar_async.cli.view.summary import after_save
    from hangar_async.engine.jobs.save import save_jobs

    options = replace(options, environment=options.environment.noted())
    hide(sys.stderr, options.environment.hidden)
    return run_verb(
        lambda given, view: save_jobs(given, Path(config), only, view),
        options,
        after_save,
        next_save,
        quiet=quiet,
        verbose=verbose,
        remains="what was fetched stays in the cache",
    ).status


def explain(options: MirrorJobsOptions, image: str, *, quiet: bool) -> int:
    """Write the reasons why the jobs choose a tag or do not."""
    from hangar_async.cli.loop import watch
    from hangar_async.cli.view.jobs import explained
    from hangar_async.cli.view.text import write_rows
    from hangar_async.engine.jobs.explain import explain_tag

    options = _hidden(options)
    found = watch(lambda view: explain_tag(options, image, view), quiet=quiet, remains="nothing was sent")
    write_rows(explained(found), sys.stdout, is_work=True)
    return 0


def write_schema() -> int:
    """Write the JSON Schema of job files."""
    import json

    from hangar_async.cli.view.text import write_document
    from hangar_async.jobfile.fields import schema

    write_document(json.dumps(schema(), indent=2), sys.stdout)
    return 0
