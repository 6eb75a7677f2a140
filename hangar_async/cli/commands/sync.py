"""`hangar-async sync`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags

if TYPE_CHECKING:
    from hangar_async.config.options import SaveOptions


def sync_command(
    context: typer.Context,
    file: options.ImageListFile,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - nobody changes it
    systems: options.Systems = ["all"],  # noqa: B006
    destination: options.MergedCache = "saved-image-cache",
    failed: options.FailedList = "sync-failed.txt",
    jobs: options.Jobs = 1,
    source: options.Source = None,
    include_foreign: options.IncludeForeign = False,
    mirror: options.Mirror = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
) -> int:
    """Add the images of a list to a cache directory, whose index keeps all others."""
    from hangar_async.config.options import SaveOptions

    flags: GlobalFlags = context.obj
    network = values.Network(retries, stall_timeout, max_wait, limit_rate, mirror or ())
    environment = network.applied(values.environment_for(flags))
    cache = values.place(destination, "--destination")
    images, name = values.image_list(file)
    wanted = SaveOptions(
        images=images,
        list_name=name,
        architectures=values.words(arch),
        systems=values.words(systems),
        failed=values.file_path(failed, "--failed"),
        jobs=jobs,
        source=source,
        include_foreign=include_foreign,
        cache=cache,
        environment=environment,
    )
    return run_sync(wanted, quiet=flags.quiet)


def run_sync(wanted: SaveOptions, *, quiet: bool = False) -> int:
    """Sync, show how it goes and what became of it, and return the exit status."""
    from hangar_async.cli.view import next_steps, summary
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.engine.save import sync

    report = watch(lambda view: sync(wanted, view), quiet=quiet, remains="what was fetched stays in the cache")
    if not quiet:
        write_rows(summary.after_sync(report, wanted), sys.stdout)
    write_rows(next_steps.after_sync(report, wanted), sys.stderr if quiet else sys.stdout)
    return report.status
