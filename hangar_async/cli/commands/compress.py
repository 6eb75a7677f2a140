"""`hangar-async compress`."""

from pathlib import Path

import typer

from hangar_async.cli import options, values


def compress_command(
    context: typer.Context,
    file: options.CacheToPack = "saved-image-cache",
    destination: options.ArchiveName = "saved-images",
    archive_format: options.ArchiveFormat = "gzip",
    compress_level: options.Level = None,
    part: options.Part = False,
    part_size: options.PartSize = None,
    replace: options.Replace = False,
    checksum: options.Checksum = "sha256",
) -> int:
    """Make an archive, or parts of one, of the images that a cache directory names."""
    from hangar_async import CompressOptions, OutputSettings, compress
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import next_steps, summary
    from hangar_async.config.output import check_archive_format, output_path

    flags = values.flags(context)
    check_archive_format(archive_format)
    size = values.size_of_part(part_size, part=part)
    output = OutputSettings(
        target=output_path(Path(destination), archive_format),
        format=archive_format,
        part_size=size,
        level=compress_level,
        epoch=values.environment_for(flags).source_date_epoch,
        replace=replace,
        checksum=checksum,
    )
    compress_options = CompressOptions(cache=values.existing_path(file, "--file"), output=output)
    rows, steps = summary.after_compress, next_steps.after_compress
    return run_verb(compress, compress_options, rows, steps, quiet=flags.quiet, remains="nothing was written").status
