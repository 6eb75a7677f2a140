"""`hangar-async extract`."""

import typer

from hangar_async.cli import options, values


def extract_command(
    context: typer.Context,
    archive: options.Archive,
    images: options.Images,
    output: options.ExtractedPath,
    image_format: options.ImageFormat = "oci",
    platform: options.OnePlatform = None,
    target: options.ImportTarget = None,
) -> int:
    """Write images of an archive or a directory as an OCI image layout, in a directory or a tar, or for docker load."""
    from hangar_async import ExtractOptions, extract
    from hangar_async.cli.loop import run_verb
    from hangar_async.cli.view.summary_local import after_extract

    flags = values.flags(context)
    extract_options = ExtractOptions(
        source=values.existing_path(archive, "ARCHIVE"),
        image=tuple(images),
        destination=values.file_path(output, "--output"),
        format=image_format,
        platform=platform,
        target=target,
    )
    run_verb(extract, extract_options, after_extract, quiet=flags.quiet, remains="nothing was written")
    return 0
