"""`hangar-async save`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags

if TYPE_CHECKING:
    from hangar_async.config.options import SaveOptions


def save_command(
    context: typer.Context,
    file: options.ImageListFile,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - nobody changes it
    systems: options.Systems = ["all"],  # noqa: B006
    compress: options.Compression = "gzip",
    compress_level: options.Level = None,
    destination: options.Destination = None,
    failed: options.FailedList = "save-failed.txt",
    jobs: options.Jobs = 1,
    part: options.Part = False,
    part_size: options.PartSize = "2G",
    source: options.Source = None,
    include_foreign: options.IncludeForeign = False,
    validate: options.Validate = False,
    mirror: options.Mirror = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
) -> int:
    """Save the images of a list into one archive, parts of one, or a directory."""
    # Late: the help is shown without what only a run needs.
    from hangar_async.config.options import SaveOptions

    flags: GlobalFlags = context.obj
    network = values.Network(retries, stall_timeout, max_wait, limit_rate, mirror or ())
    environment = network.applied(values.environment_for(flags))
    size = values.size_of_part(part_size)
    images, name = values.image_list(file)
    wanted = SaveOptions(
        images=images,
        list_name=name,
        architectures=values.words(arch),
        systems=values.words(systems),
        format=compress,
        level=compress_level,
        destination=None if destination is None else Path(destination),
        failed=values.file_path(failed, "--failed"),
        jobs=jobs,
        part_size=size if part else None,
        source=source,
        include_foreign=include_foreign,
        validate=validate,
        environment=environment,
    )
    return run_save(wanted, quiet=flags.quiet)


def run_save(wanted: SaveOptions, *, quiet: bool = False) -> int:
    """Save, show how it goes and what became of it, and return the exit status."""
    from hangar_async.cli.view import next_steps, summary
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.engine.save import save

    report = watch(lambda view: save(wanted, view), quiet=quiet, remains="what was fetched stays in the cache")
    if not quiet:
        write_rows(summary.after_save(report, wanted), sys.stdout)
    # Where it is quiet, the view has named what failed already, on standard error.
    write_rows(next_steps.after_save(report, wanted), sys.stderr if quiet else sys.stdout)
    return report.status
