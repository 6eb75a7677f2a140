"""`hangar-async load-validate`."""

from __future__ import annotations

import sys

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags


def load_validate_command(
    context: typer.Context,
    source: options.LoadSource,
    destination: options.PushTo = None,
    compress: options.HeldFormat = None,
    image: options.ChosenImages = None,
    file: options.ChosenList = None,
    failed: options.FailedList = "load-validate-failed.txt",
    jobs: options.Jobs = 1,
    default_project: options.DefaultProject = "library",
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
) -> int:
    """Compare the images of an archive by digests with what a registry has."""
    from hangar_async.cli.view import load_summary
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.config.options import LoadOptions
    from hangar_async.engine.validate import load_validate

    flags: GlobalFlags = context.obj
    wanted = LoadOptions(
        source=values.place(source, "--source"),
        destination=destination,
        format=compress,
        failed=values.file_path(failed, "--failed"),
        jobs=jobs,
        default_project=default_project,
        images=tuple(image or ()),
        wanted=None if file is None else values.image_list(file)[0],
        environment=values.Network(retries, stall_timeout, max_wait, None).applied(values.environment_for(flags)),
    )
    report = watch(lambda view: load_validate(wanted, view), quiet=flags.quiet, remains="not all was compared")
    if not flags.quiet:
        write_rows(load_summary.after_validate(report), sys.stdout)
    write_rows(load_summary.next_step("load", report, wanted), sys.stderr if flags.quiet else sys.stdout)
    return report.status
