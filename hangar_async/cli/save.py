"""`hangar-async save`."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options
from hangar_async.cli.argv import GlobalFlags
from hangar_async.errors import InvalidValue, UsageError

if TYPE_CHECKING:
    from hangar_async.config import SaveOptions
    from hangar_async.engine.report import Report

_STANDARD_INPUT = "-"


def save_command(
    context: typer.Context,
    file: options.ImageListFile,
    arch: options.Architectures = ["amd64,arm64"],  # noqa: B006 - nobody changes it
    systems: options.Systems = ["all"],  # noqa: B006
    compress: options.Compression = "gzip",
    destination: options.Destination = None,
    failed: options.FailedList = "save-failed.txt",
    jobs: options.Jobs = 1,
    part: options.Part = False,
    part_size: options.PartSize = "2G",
    source: options.Source = None,
    include_foreign: options.IncludeForeign = False,
) -> int:
    """Save the images of a list into one archive, parts of one, or a directory."""
    # Late: the help is shown without what only a run needs.
    from hangar_async.config import Environment, SaveOptions

    flags: GlobalFlags = context.obj
    environment = Environment.read()
    registries = replace(environment.registries, tls_verify=flags.tls_verify)
    size = _part_size(part_size)
    wanted = SaveOptions(
        images=_lines_of_standard_input() if file == _STANDARD_INPUT else Path(file),
        list_name="standard input" if file == _STANDARD_INPUT else "",
        architectures=_words(arch),
        systems=_words(systems),
        format=compress,
        destination=None if destination is None else Path(destination),
        failed=_file(failed),
        jobs=jobs,
        part_size=size if part else None,
        source=source,
        include_foreign=include_foreign,
        environment=replace(environment, registries=registries),
    )
    return run_save(wanted, quiet=flags.quiet)


def run_save(wanted: SaveOptions, *, quiet: bool = False) -> int:
    """Save, show how it goes and what became of it, and return the exit status."""
    from hangar_async.cli.loop import run_until_done
    from hangar_async.cli.view import open_view
    from hangar_async.engine.save import save

    with open_view(quiet) as view:

        def tell(text: str) -> None:
            view.close()
            view.say(text)

        report = run_until_done(lambda: save(wanted, view), tell)
    _show(report, wanted, quiet)
    return report.status


def _show(report: Report, wanted: SaveOptions, quiet: bool) -> None:
    from hangar_async.cli import summary
    from hangar_async.cli.page import write_rows

    if quiet:
        # The view has named what failed already, on standard error.
        write_rows(summary.next_steps(report, wanted), sys.stderr)
    else:
        write_rows(summary.rows(report, wanted), sys.stdout)


def _words(values: Iterable[str]) -> Sequence[str]:
    return tuple(word for value in values for word in value.split(",") if word.strip())


def _file(text: str) -> Path:
    if not Path(text).name:
        raise UsageError(f"{text!r} names no file to write (--failed)")
    return Path(text)


def _part_size(text: str) -> int:
    from hangar_async.config import parse_size

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
