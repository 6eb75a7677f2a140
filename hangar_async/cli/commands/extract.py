"""`hangar-async extract`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags

if TYPE_CHECKING:
    from hangar_async.config.options import ExtractOptions
    from hangar_async.engine.reports import Output


def extract_command(
    context: typer.Context,
    archive: options.Archive,
    image: options.Image,
    output: options.ExtractedPath,
    image_format: options.ImageFormat = "oci",
    platform: options.OnePlatform = None,
) -> int:
    """Write one image of an archive or a cache directory as an OCI image layout, or as a tar for docker load."""
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.config.options import ExtractOptions
    from hangar_async.engine.extract import extract

    flags: GlobalFlags = context.obj
    wanted = ExtractOptions(
        source=values.place(archive, "ARCHIVE"),
        image=image,
        destination=values.file_path(output, "--output"),
        format=image_format,
        platform=platform,
    )
    written = watch(lambda view: extract(wanted, view), quiet=flags.quiet, remains="nothing was written")
    if not flags.quiet:
        write_rows(_rows(wanted, written), sys.stdout)
    return 0


def _rows(wanted: ExtractOptions, output: Output) -> Iterator[tuple[str, str]]:
    from hangar_async.cli.view.text import command_text, one_line, size_text

    yield "image", one_line(wanted.image)
    text = f"{one_line(str(output.path.absolute()))}, {size_text(output.size)}"
    if output.format == "oci":
        yield "layout", text
    else:
        yield "archive", text
        yield "load", one_line(command_text(["docker", "load", "-i", str(output.path)]))
