"""`hangar-async mirror-validate`."""

import typer

from hangar_async.cli import options, report_options, scale_options, values


def mirror_validate_command(
    context: typer.Context,
    image: options.MirroredImages = None,
    file: options.MirrorListFile = None,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - never changed
    systems: options.Systems = ["linux,windows"],  # noqa: B006
    source: options.MirrorSource = None,
    destination: options.MirrorTo = None,
    to: options.NameTemplate = None,
    failed: options.FailedList = "mirror-validate-failed.txt",
    report: report_options.ReportFile = None,
    lenient: options.Lenient = False,
    jobs: options.Jobs = 1,
    blobs_per_image: options.BlobsPerImage = 6,
    requests: options.Requests = 60,
    default_project: options.DefaultProject = "library",
    mirror: options.Mirror = None,
    shard: scale_options.Shard = None,
    shards: scale_options.Shards = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
) -> int:
    """Compare the images of a list with their copies, by digests."""
    from hangar_async import MirrorOptions, mirror_validate
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary

    flags = values.flags(context)
    network = values.Network(retries, stall_timeout, max_wait, None, mirror or ())
    images, name = values.mirrored_images(image, file)
    environment = network.apply_to(values.environment_for(flags))
    mirror_options = MirrorOptions(
        images=images,
        list_name=name,
        architectures=values.words(arch),
        systems=values.words(systems),
        source=source,
        destination=destination,
        template=to,
        failed=values.file_path(failed, "--failed"),
        report=values.report_target(report),
        lenient=lenient,
        jobs=jobs,
        blobs_per_image=blobs_per_image,
        requests=requests,
        default_project=default_project,
        shard=values.shard(shard, shards, environment),
        environment=environment,
    )
    rows, steps = summary.after_mirror_validate, next_steps.after_mirror_validate
    return run_verb(
        mirror_validate, mirror_options, rows, steps, quiet=flags.quiet, remains="not all was compared"
    ).status
