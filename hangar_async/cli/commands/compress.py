"""`hangar-async compress`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values

if TYPE_CHECKING:
    from hangar_async import CompressOptions


def compress_command(
    context: typer.Context,
    file: options.CacheToPack = "saved-image-cache",
    destination: options.ArchiveName = "saved-images",
    archive_format: options.ArchiveFormat = "gzip",
    compress_level: options.Level = None,
    part: options.Part = False,
    part_size: options.PartSize = "2G",
) -> int:
    """Make an archive, or parts of one, of the images that a cache directory names."""
    from hangar_async import CompressOptions, OutputSettings
    from hangar_async.config.output import check_archive_format, output_path

    flags = values.flags(context)
    check_archive_format(archive_format)
    size = values.size_of_part(part_size)
    output = OutputSettings(
        target=output_path(Path(destination), archive_format),
        format=archive_format,
        part_size=size if part else None,
        level=compress_level,
        epoch=values.environment_for(flags).source_date_epoch,
    )
    compress_options = CompressOptions(cache=values.existing_path(file, "--file"), output=output)
    return run_compress(compress_options, quiet=flags.quiet)


def run_compress(compress_options: CompressOptions, *, quiet: bool = False) -> int:
    """Compress, show the progress and the summary, and return the exit status."""
    from hangar_async import compress
    from hangar_async.cli.loop import watch
    from hangar_async.cli.view import next_steps, summary

    report = watch(lambda view: compress(compress_options, view), quiet=quiet, remains="nothing was written")
    rows, steps = summary.after_compress(report, compress_options), next_steps.after_compress(report, compress_options)
    summary.write_summary(rows, steps, quiet=quiet)
    return report.status
