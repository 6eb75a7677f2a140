"""The summaries of commands that ask no registry."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hangar_async.cli.view.text import Pasted, Rows, count_text, images_text, one_line, place_text, quoted_path

if TYPE_CHECKING:
    from hangar_async.config.options import ExtractOptions, MergeReportsOptions
    from hangar_async.engine.reporting.records import MergedReports
    from hangar_async.engine.reports import Conversion, Output


def index_rows(cache: Path) -> Rows:
    """Make the line about the index of a cache directory; none where it has no index."""
    from hangar_async.layout.files import LIST_NAME
    from hangar_async.layout.parse import parse_list

    path = cache / LIST_NAME
    if path.exists():
        images = parse_list(path.read_bytes()).images
        yield "index", f"names {images_text(images)}"


#: The directories whose tars are imported at the start. Sources: the air-gap pages of K3s, RKE2 and k0s.
_IMAGE_DIRECTORIES = {
    "k3s": "/var/lib/rancher/k3s/agent/images/",
    "rke2": "/var/lib/rancher/rke2/agent/images/",
    "k0s": "/var/lib/k0s/images/",
}


def after_extract(written: Output, options: ExtractOptions) -> Rows:
    """Make the lines of the summary of an extract."""
    for number, name in enumerate(options.names):
        yield "" if number else "image", one_line(name)
    yield "layout" if written.format == "oci" else "archive", place_text(written.path, written.size)
    path = quoted_path(written.path)
    if written.format == "docker-archive" or options.target == "docker":
        yield "load", Pasted(f"docker load -i {path}")
    elif options.target == "containerd":
        yield "import", Pasted(f"ctr -n k8s.io images import {path}")
    elif options.target is not None:
        yield "copy to", _IMAGE_DIRECTORIES[options.target]


def after_decompress(output: Output, _: object) -> Rows:
    """Make the lines of the summary of a decompress."""
    yield "directory", place_text(output.path, output.size)
    yield from index_rows(output.path)


def after_convert(conversion: Conversion, _: object) -> Rows:
    """Make the lines of the summary of a convert-list."""
    if conversion.kept:
        yield "kept", f"{count_text(conversion.kept, 'line')} that had the form SOURCE DEST TAG"
    yield "list", one_line(str(conversion.path))
    yield from _some("invalid", [str(line) for line in conversion.invalid])
    invalid = f"; {count_text(len(conversion.invalid), 'line')} invalid" if conversion.invalid else ""
    yield "converted", count_text(conversion.converted, "line") + invalid


def after_merge_reports(merged: MergedReports, options: MergeReportsOptions) -> Rows:
    """Make the lines of the summary of a merge of reports."""
    totals = merged.document.totals
    for status in ("done", "unchanged", "failed", "skipped"):
        if number := getattr(totals, status):
            yield status, count_text(number, "image")
    if merged.document.end != "complete":
        yield "", f"a run was {merged.document.end}, and no later one made it good"
    yield from _some("invalid", [f"{one.list}:{one.line}: {one.message}" for one in merged.document.invalid])
    if not callable(options.report):
        yield "report", one_line(str(options.report))
    if merged.failed_list is not None:
        yield "list", f"the images that are still to be tried are in {one_line(str(merged.failed_list))}"
    yield "joined", f"{count_text(len(merged.document.runs), 'run')}, {count_text(totals.images, 'image')}"


def _some(label: str, texts: Sequence[str]) -> Rows:
    if texts:
        from hangar_async.cli.view.groups import some_rows

        yield from some_rows(label, texts)
