"""`hangar-async save`."""

from pathlib import Path

import typer

from hangar_async.cli import job_options, jobs as job_file, options, report_options, scale_options, values
from hangar_async.errors import UsageError


def save_command(
    context: typer.Context,
    file: job_options.SavedList = None,
    config: job_options.SavedJobs = None,
    only: job_options.Only = None,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - never changed
    systems: options.Systems = ["all"],  # noqa: B006
    compress: options.Compression = "gzip",
    compress_level: options.Level = None,
    destination: options.Destination = None,
    failed: options.FailedList = "save-failed.txt",
    report: report_options.ReportFile = None,
    lenient: options.Lenient = False,
    jobs: options.Jobs = 1,
    blobs_per_image: options.BlobsPerImage = 6,
    requests: options.Requests = 60,
    part: options.Part = False,
    part_size: options.PartSize = None,
    replace: options.Replace = False,
    checksum: options.Checksum = "sha256",
    source: options.Source = None,
    include_foreign: options.IncludeForeign = False,
    referrers: options.Referrers = "all",
    validate: options.Validate = False,
    mirror: options.Mirror = None,
    shard: scale_options.Shard = None,
    shards: scale_options.Shards = None,
    retries: options.Retries = 4,
    stall_timeout: options.StallTimeout = "60s",
    max_wait: options.MaxWait = "1h",
    limit_rate: options.LimitRate = None,
    keep_quota: options.KeepQuota = None,
) -> int:
    """Save the images of a list, or of the jobs of a file, into one archive, parts of one, or a directory."""
    # Imported late: the help does not need it.
    from hangar_async import SaveOptions, save
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary
    from hangar_async.config.output import DEFAULT_NAME
    from hangar_async.layout.files import CACHE_NAME

    systems_given = None if systems == ["all"] else systems
    listed = {"--file": file, "--arch": arch, "--os": systems_given, "--source": source, "--referrers": referrers}
    job_file.check_flags(config, listed, {"--only": only})
    if file is None and config is None:
        raise UsageError("name a list of images with --file, or a job file with --config")
    flags = values.flags(context)
    network = values.Network(retries, stall_timeout, max_wait, limit_rate, mirror or (), keep_quota)
    environment = network.apply_to(values.environment_for(flags))
    size = values.size_of_part(part_size, part=part)
    images, name = ((), "") if file is None else values.image_list(file)
    save_options = SaveOptions(
        images=images,
        list_name=name,
        architectures=values.words(arch),
        systems=values.words(systems),
        format=compress,
        level=compress_level,
        destination=Path(DEFAULT_NAME if destination is None else destination),
        failed=values.file_path(failed, "--failed"),
        report=values.report_target(report),
        lenient=lenient,
        jobs=jobs,
        blobs_per_image=blobs_per_image,
        requests=requests,
        part_size=size,
        replace=replace,
        checksum=checksum,
        source=source,
        include_foreign=include_foreign,
        referrers=referrers,
        validate=validate,
        cache=Path(CACHE_NAME),
        shard=values.shard(shard, shards, environment),
        environment=environment,
    )
    if config is not None:
        chosen, quiet = tuple(only or ()), flags.quiet
        return job_file.save_chosen(save_options, config, chosen, quiet=quiet, verbose=flags.verbose)
    rows, steps = summary.after_save, next_steps.after_save
    return run_verb(
        save,
        save_options,
        rows,
        steps,
        quiet=flags.quiet,
        verbose=flags.verbose,
        remains="what was fetched stays in the cache",
    ).status
