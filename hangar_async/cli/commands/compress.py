"""`hangar-async compress`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags

if TYPE_CHECKING:
    from hangar_async.config.options import CompressOptions


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
    from hangar_async.config.options import CompressOptions
    from hangar_async.config.output import OutputSettings, check_archive_format, output_path

    flags: GlobalFlags = context.obj
    check_archive_format(archive_format)
    size = values.size_of_part(part_size)
    output = OutputSettings(
        target=output_path(Path(destination), archive_format),
        format=archive_format,
        part_size=size if part else None,
        level=compress_level,
        epoch=values.environment_for(flags).source_date_epoch,
    )
    wanted = CompressOptions(cache=values.place(file, "--file"), output=output)
    return run_compress(wanted, quiet=flags.quiet)


def run_compress(wanted: CompressOptions, *, quiet: bool = False) -> int:
    """Compress, show how it goes and what became of it, and return the exit status."""
    from hangar_async.cli.view import next_steps, summary
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.engine.compress import compress

    report = watch(lambda view: compress(wanted, view), quiet=quiet, remains="nothing was written")
    if not quiet:
        write_rows(summary.after_compress(report, wanted), sys.stdout)
    write_rows(next_steps.after_compress(report, wanted), sys.stderr if quiet else sys.stdout)
    return report.status
