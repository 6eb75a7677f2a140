"""`hangar-async load`."""

from __future__ import annotations

import sys
from pathlib import Path

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags
from hangar_async.errors import UsageError


def load_command(
    context: typer.Context,
    source: options.LoadSource,
    destination: options.PushTo = None,
    compress: options.HeldFormat = None,
    image: options.ChosenImages = None,
    file: options.ChosenList = None,
    failed: options.FailedList = "load-failed.txt",
    jobs: options.Jobs = 1,
    default_project: options.DefaultProject = "library",
    repo_type: options.RepoType = None,
    harbor_https: options.HarborHttps = True,
    harbor_public: options.HarborPublic = False,
    platform_tags: options.PlatformTags = False,
    sparse_index: options.SparseIndex = False,
    dry_run: options.DryRun = False,
    spool: options.SpoolDirectory = ".",
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
) -> int:
    """Push the images of an archive, a cache directory or an OCI image layout into a registry."""
    # Late: the help is shown without what only a run needs.
    from hangar_async.cli.view import load_summary
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.config.options import LoadOptions
    from hangar_async.engine.load import load

    flags: GlobalFlags = context.obj
    if repo_type not in (None, "harbor"):
        raise UsageError(f"unknown type {repo_type!r} (--repo-type): harbor is the only one")
    wanted = LoadOptions(
        source=values.place(source, "--source"),
        destination=destination,
        format=compress,
        failed=values.file_path(failed, "--failed"),
        jobs=jobs,
        default_project=default_project,
        images=tuple(image or ()),
        wanted=None if file is None else values.image_list(file)[0],
        dry_run=dry_run,
        sparse_index=sparse_index,
        platform_tags=platform_tags,
        harbor=repo_type == "harbor",
        harbor_https=harbor_https,
        harbor_public=harbor_public,
        spool=Path(spool),
        environment=values.Network(retries, stall_timeout, max_wait, limit_rate).applied(values.environment_for(flags)),
    )
    report = watch(lambda view: load(wanted, view), quiet=flags.quiet, remains="what was pushed stays at the registry")
    if not flags.quiet:
        write_rows(load_summary.after_load(report), sys.stdout)
    # Where it is quiet, the view has named what failed already, on standard error.
    write_rows(load_summary.next_step("load", report, wanted), sys.stderr if flags.quiet else sys.stdout)
    return report.status
