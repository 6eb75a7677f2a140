"""`hangar-async sync`."""

import typer

from hangar_async.cli import options, report_options, scale_options, values


def sync_command(
    context: typer.Context,
    file: options.ImageListFile,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - never changed
    systems: options.Systems = ["all"],  # noqa: B006
    destination: options.MergedCache = "saved-image-cache",
    failed: options.FailedList = "sync-failed.txt",
    report: report_options.ReportFile = None,
    lenient: options.Lenient = False,
    jobs: options.Jobs = 1,
    blobs_per_image: options.BlobsPerImage = 6,
    requests: options.Requests = 60,
    source: options.Source = None,
    include_foreign: options.IncludeForeign = False,
    referrers: options.Referrers = "all",
    mirror: options.Mirror = None,
    shard: scale_options.Shard = None,
    shards: scale_options.Shards = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
    keep_quota: options.KeepQuota = None,
) -> int:
    """Add the images of a list to a cache directory, whose index keeps all others."""
    from hangar_async import SyncOptions, sync
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary

    flags = values.flags(context)
    network = values.Network(retries, stall_timeout, max_wait, limit_rate, mirror or (), keep_quota)
    environment = network.apply_to(values.environment_for(flags))
    cache = values.existing_path(destination, "--destination")
    images, name = values.image_list(file)
    sync_options = SyncOptions(
        images=images,
        list_name=name,
        architectures=values.words(arch),
        systems=values.words(systems),
        failed=values.file_path(failed, "--failed"),
        report=values.report_target(report),
        lenient=lenient,
        jobs=jobs,
        blobs_per_image=blobs_per_image,
        requests=requests,
        source=source,
        include_foreign=include_foreign,
        referrers=referrers,
        cache=cache,
        shard=values.shard(shard, shards, environment),
        environment=environment,
    )
    rows, steps = summary.after_sync, next_steps.after_sync
    return run_verb(
        sync,
        sync_options,
        rows,
        steps,
        quiet=flags.quiet,
        verbose=flags.verbose,
        remains="what was fetched stays in the cache",
    ).status
