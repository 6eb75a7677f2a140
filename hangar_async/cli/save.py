"""`hangar-async save`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hangar_async.cli.argv import GlobalFlags
from hangar_async.config import DEFAULT_NAME, DEFAULT_PART_SIZE, FORMATS, MAX_JOBS, Environment, SaveOptions, parse_size
from hangar_async.errors import InvalidValue, UsageError

if TYPE_CHECKING:
    from hangar_async.engine.report import Report

_STANDARD_INPUT = "-"


def save_command(
    context: typer.Context,
    file: Annotated[
        str, typer.Option("-f", "--file", metavar="LIST", help="Image list, one image a line; - is standard input.")
    ],
    arch: Annotated[
        list[str] | None,
        typer.Option(
            "-a",
            "--arch",
            metavar="ARCH",
            show_default="amd64,arm64",
            help="Architectures, separated by commas: amd64, arm/v7, linux/arm64 or all. May be given again.",
        ),
    ] = None,
    os: Annotated[
        list[str] | None,
        typer.Option("--os", metavar="OS", show_default="all", help="Systems, separated by commas: linux, windows."),
    ] = None,
    compress: Annotated[
        str, typer.Option("-c", "--compress", metavar="FORMAT", show_default=True, help="gzip, zstd, or dir: no archive.")
    ] = "gzip",
    destination: Annotated[
        str | None,
        typer.Option(
            "-d",
            "--destination",
            metavar="NAME",
            show_default=f"{DEFAULT_NAME}{FORMATS['gzip']}, {DEFAULT_NAME}{FORMATS['zstd']} or {DEFAULT_NAME}",
            help="Output; a name without a dot gets the ending of its format.",
        ),
    ] = None,
    failed: Annotated[
        str,
        typer.Option("-o", "--failed", metavar="LIST", show_default=True, help="Where the lines of failed images go."),
    ] = "save-failed.txt",
    jobs: Annotated[
        int,
        typer.Option("-j", "--jobs", metavar="N", show_default=True, help=f"Requests at once, 1 to {MAX_JOBS}."),
    ] = 1,
    part: Annotated[bool, typer.Option("--part", help="Split the archive into parts.  [default: false]")] = False,
    part_size: Annotated[
        str,
        typer.Option("--part-size", metavar="SIZE", show_default=True, help="Size of a part: bytes, or with K, M, G."),
    ] = DEFAULT_PART_SIZE,
    source: Annotated[
        str | None,
        typer.Option(
            "-s",
            "--source",
            metavar="HOST[:PORT]",
            show_default="$SOURCE_REGISTRY",
            help="Registry that replaces the one of every image.",
        ),
    ] = None,
    include_foreign: Annotated[
        bool,
        typer.Option("--include-foreign", help="Fetch foreign layers from their own addresses.  [default: false]"),
    ] = False,
) -> int:
    """Save the images of a list into one archive, parts of one, or a directory."""
    flags: GlobalFlags = context.obj
    environment = Environment.read()
    registries = replace(environment.registries, tls_verify=flags.tls_verify)
    size = _part_size(part_size)
    options = SaveOptions(
        images=_lines_of_standard_input() if file == _STANDARD_INPUT else Path(file),
        list_name="standard input" if file == _STANDARD_INPUT else "",
        architectures=("amd64", "arm64") if arch is None else _words(arch),
        systems=_words(os or ()),
        format=compress,
        destination=None if destination is None else Path(destination),
        failed=Path(failed),
        jobs=jobs,
        part_size=size if part else None,
        source=source,
        include_foreign=include_foreign,
        environment=replace(environment, registries=registries),
    )
    return run_save(options, quiet=flags.quiet)


def run_save(options: SaveOptions, *, quiet: bool = False) -> int:
    """Save, show how it goes and what became of it, and return the exit status."""
    # Here and not above: showing the help needs none of it.
    from hangar_async.cli.loop import run_until_done
    from hangar_async.cli.view import open_view
    from hangar_async.engine.save import save

    with open_view(quiet) as view:

        def tell(text: str) -> None:
            view.close()
            view.say(text)

        report = run_until_done(lambda: save(options, view), tell)
    _show(report, options, quiet)
    return report.status


def _show(report: Report, options: SaveOptions, quiet: bool) -> None:
    from hangar_async.cli import summary
    from hangar_async.cli.page import write_rows

    if not quiet:
        write_rows(summary.rows(report, options), sys.stdout)


def _words(values: Iterable[str]) -> Sequence[str]:
    return tuple(word for value in values for word in value.split(",") if word.strip())


def _part_size(text: str) -> int:
    try:
        return parse_size(text)
    except InvalidValue as error:
        raise UsageError(f"--part-size: {error}") from error


def _lines_of_standard_input() -> list[str]:
    try:
        return sys.stdin.buffer.read().decode().splitlines()
    except OSError as error:
        raise UsageError(f"cannot read the image list from standard input: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(
            f"the image list from standard input is not text in UTF-8: {error.reason} at byte {error.start}"
        ) from error
