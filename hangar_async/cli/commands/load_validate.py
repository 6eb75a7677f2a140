"""`hangar-async load-validate`."""

import typer

from hangar_async.cli import options, report_options, scale_options, values


def load_validate_command(
    context: typer.Context,
    source: options.LoadSource,
    destination: options.PushTo = None,
    to: options.NameTemplate = None,
    compress: options.HeldFormat = None,
    image: options.ChosenImages = None,
    name: options.GivenName = None,
    file: options.ChosenList = None,
    failed: options.FailedList = "load-validate-failed.txt",
    report: report_options.ReportFile = None,
    jobs: options.Jobs = 1,
    blobs_per_image: options.BlobsPerImage = 6,
    requests: options.Requests = 60,
    default_project: options.DefaultProject = "library",
    referrers: options.Referrers = "all",
    shard: scale_options.Shard = None,
    shards: scale_options.Shards = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
) -> int:
    """Compare the images of an archive by digests with those of a registry."""
    from hangar_async import LoadOptions, load_validate
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary

    flags = values.flags(context)
    environment = values.Network(retries, stall_timeout, max_wait, None).apply_to(values.environment_for(flags))
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
        shard=values.shard(shard, shards, environment),
        environment=environment,
    )
    rows, steps = summary.after_validate, next_steps.after_load
    return run_verb(load_validate, load_options, rows, steps, quiet=flags.quiet, remains="not all was compared").status
