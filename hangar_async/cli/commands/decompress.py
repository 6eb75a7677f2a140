"""`hangar-async decompress`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, values
from hangar_async.cli.argv import GlobalFlags

if TYPE_CHECKING:
    from hangar_async.engine.reports import Output


def decompress_command(
    context: typer.Context,
    file: options.ArchiveFile,
    archive_format: options.ExpectedFormat = None,
    destination: options.NewCache = "saved-image-cache",
) -> int:
    """Unpack an archive, or parts of one, into a new directory; every blob is checked on the way."""
    from hangar_async.cli.view.page import write_rows
    from hangar_async.cli.view.watch import watch
    from hangar_async.config.options import DecompressOptions
    from hangar_async.engine.compress import decompress

    flags: GlobalFlags = context.obj
    wanted = DecompressOptions(
        archive=values.place(file, "--file"),
        destination=values.file_path(destination, "--destination"),
        format=archive_format,
    )
    output = watch(lambda view: decompress(wanted, view), quiet=flags.quiet, remains="nothing was written")
    if not flags.quiet:
        write_rows(_rows(output), sys.stdout)
    return 0


def _rows(output: Output) -> Iterator[tuple[str, str]]:
    from hangar_async.cli.view.summary import index_rows
    from hangar_async.cli.view.text import one_line, size_text

    yield "directory", f"{one_line(str(output.path.absolute()))}, {size_text(output.size)}"
    yield from index_rows(output.path)
