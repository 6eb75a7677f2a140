"""`hangar-async load`."""

from pathlib import Path

import typer

from hangar_async.cli import options, repo_options, report_options, scale_options, values


def load_command(
    context: typer.Context,
    source: options.LoadSource,
    destination: options.PushTo = None,
    to: options.NameTemplate = None,
    compress: options.HeldFormat = None,
    image: options.ChosenImages = None,
    name: options.GivenName = None,
    file: options.ChosenList = None,
    failed: options.FailedList = "load-failed.txt",
    report: report_options.ReportFile = None,
    jobs: options.Jobs = 1,
    blobs_per_image: options.BlobsPerImage = 6,
    requests: options.Requests = 60,
    default_project: options.DefaultProject = "library",
    repo_type: repo_options.RepoType = None,
    harbor_https: repo_options.HarborHttps = True,
    harbor_public: repo_options.HarborPublic = False,
    ecr_immutable_tags: repo_options.EcrImmutableTags = False,
    ecr_lifecycle: repo_options.EcrLifecycle = None,
    platform_tags: options.PlatformTags = False,
    on_existing_tag: options.OnExistingTag = "overwrite",
    index: options.LoadIndex = "partial",
    sparse_index: options.SparseIndex = False,
    referrers: options.Referrers = "all",
    dry_run: options.DryRun = False,
    spool: options.SpoolDirectory = ".",
    shard: scale_options.Shard = None,
    shards: scale_options.Shards = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
) -> int:
    """Push the images of an archive, a cache directory or an OCI image layout into a registry."""
    # Imported late: the help does not need it.
    from hangar_async import LoadOptions, load
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary

    flags = values.flags(context)
    harbor, ecr = (harbor_https, harbor_public), (ecr_immutable_tags, ecr_lifecycle)
    environment = values.Network(retries, stall_timeout, max_wait, limit_rate).apply_to(values.environment_for(flags))
    load_options = LoadOptions(
        source=values.existing_path(source, "--source"),
        destination=destination,
        template=to,
        format=compress,
        failed=values.file_path(failed, "--failed"),
        report=values.report_target(report),
        jobs=jobs,
        blobs_per_image=blobs_per_image,
        requests=requests,
        default_project=default_project,
        images=tuple(image or ()),
        name=name,
        image_list=None if file is None else values.image_list(file)[0],
        referrers=referrers,
        dry_run=dry_run,
        index=index,
        sparse_index=sparse_index,
        platform_tags=platform_tags,
        on_existing_tag=on_existing_tag,
        create=repo_options.creation(repo_type, harbor=harbor, ecr=ecr),
        spool=Path(spool),
        shard=values.shard(shard, shards, environment),
        environment=environment,
    )
    rows, steps = summary.after_load, next_steps.after_load
    return run_verb(
        load,
        load_options,
        rows,
        steps,
        quiet=flags.quiet,
        verbose=flags.verbose,
        remains="what was pushed stays at the registry",
    ).status
