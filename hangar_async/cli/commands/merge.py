"""`hangar-async merge`."""

from pathlib import Path

import typer

from hangar_async.cli import options, values


def merge_command(
    context: typer.Context,
    sources: options.Sources,
    destination: options.ArchiveName = "saved-images",
    prefer: options.Prefer = None,
    archive_format: options.ArchiveFormat = "gzip",
    compress_level: options.Level = None,
    part: options.Part = False,
    part_size: options.PartSize = None,
    replace: options.Replace = False,
    checksum: options.Checksum = "sha256",
) -> int:
    """Make one archive of the images of several archives, directories or other sources, each digest once."""
    from hangar_async import MergeOptions, OutputSettings, merge
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view import summary
    from hangar_async.config.output import check_archive_format, output_path

    flags = values.flags(context)
    check_archive_format(archive_format)
    output = OutputSettings(
        target=output_path(Path(destination), archive_format),
        format=archive_format,
        part_size=values.size_of_part(part_size, part=part),
        level=compress_level,
        epoch=values.environment_for(flags).source_date_epoch,
        replace=replace,
        checksum=checksum,
    )
    paths = tuple(values.existing_path(source, "ARCHIVE") for source in sources)
    merge_options = MergeOptions(sources=paths, output=output, prefer=prefer)
    return run_verb(
        merge, merge_options, summary.after_compress, quiet=flags.quiet, remains="nothing was written"
    ).status
