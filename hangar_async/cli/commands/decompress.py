"""`hangar-async decompress`."""

import typer

from hangar_async.cli import options, values


def decompress_command(
    context: typer.Context,
    file: options.ArchiveFile,
    archive_format: options.ExpectedFormat = None,
    destination: options.NewCache = "saved-image-cache",
) -> int:
    """Unpack an archive, or parts of one, into a new directory; every blob is checked on the way."""
    from hangar_async import DecompressOptions, decompress
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.summary_local import after_decompress

    flags = values.flags(context)
    decompress_options = DecompressOptions(
        archive=values.existing_path(file, "--file"),
        destination=values.file_path(destination, "--destination"),
        format=archive_format,
    )
    run_verb(decompress, decompress_options, after_decompress, quiet=flags.quiet, remains="nothing was written")
    return 0
