"""`hangar-async verify`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from hangar_async.cli import options, report_options, values
from hangar_async.errors import ArchiveError, StorageError, UsageError
from hangar_async.filesystem import real_path

if TYPE_CHECKING:
    from hangar_async import Verdict

#: Problems that are shown; the rest are counted.
_SHOWN = 20
_PARTS = {
    "sha256": "compared with their SHA-256",
    "none": "there is no SHA-256 of them; they were decoded to the end instead",
}


def verify_command(
    context: typer.Context,
    archive: options.Archive,
    as_json: options.Json = False,
    report: report_options.ReportFile = None,
) -> int:
    """Read all of an archive, its parts, or a cache directory, and name every part, blob and image that is broken."""
    from hangar_async import Verdict, VerifyOptions, verify
    from hangar_async.cli.loop import has_report_on_output, watch
    from hangar_async.cli.view.text import write_document, write_rows

    flags = values.flags(context)
    path = values.existing_path(archive, "ARCHIVE")
    verify_options = VerifyOptions(path, values.report_target(report))
    has_report = has_report_on_output(verify_options)
    if as_json and has_report:
        raise UsageError("--json and --report - would both write standard output: leave one of them out")
    try:
        verdict = watch(lambda view: verify(verify_options, view), quiet=flags.quiet, remains="not all was checked")
    except (ArchiveError, StorageError) as error:
        target = verify_options.report
        if isinstance(target, Path) and error.path == str(real_path(target)):
            raise
        # A part that cannot be read is a finding like others.
        verdict = Verdict((), 0, 0, (str(error),))
    if as_json:
        write_document(json_document(path, verdict), sys.stdout)
    else:
        write_rows(_rows(path, verdict, flags.quiet), sys.stderr if has_report else sys.stdout)
    return verdict.status


def json_document(path: Path, verdict: Verdict) -> str:
    """Make the JSON document of a verdict."""
    document = {
        "path": str(path),
        "ok": not verdict.problems,
        "problems": list(verdict.problems),
        "checksum": verdict.checksum,
        "images": [image.name for image in verdict.images],
        "files": verdict.files,
        "size": verdict.size,
    }
    return json.dumps(document, indent=2)


def _rows(path: Path, verdict: Verdict, quiet: bool) -> Iterator[tuple[str, str]]:
    from hangar_async.cli.view.text import count_text, images_text, one_line, size_text, source_text

    for problem in verdict.problems[:_SHOWN]:
        yield "wrong", one_line(problem)
    if len(verdict.problems) > _SHOWN:
        yield "wrong", f"and {len(verdict.problems) - _SHOWN:,} more problems: --json has all"
    if quiet:
        return
    if verdict.checksum is not None:
        yield "parts", _PARTS[verdict.checksum]
    text = f"{images_text(verdict.images)}, {count_text(verdict.files, 'file')}, {size_text(verdict.size)}"
    if verdict.problems:
        yield "checked", f"{source_text(path)}: {text}: {count_text(len(verdict.problems), 'problem')}"
    else:
        yield "ok", f"{source_text(path)}: {text}"
