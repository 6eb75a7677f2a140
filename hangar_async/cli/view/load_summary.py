"""What there is at a registry after a load or a comparison, and how to go on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hangar_async.cli.view.next_steps import network_flags
from hangar_async.cli.view.summary import some_rows
from hangar_async.cli.view.text import PROGRAM, command_text, count_text, duration_text, error_text, one_line, size_text
from hangar_async.config.options import LoadOptions
from hangar_async.engine.reports import Comparison, ComparisonReport, LoadOutcome, LoadReport

Rows = Iterator[tuple[str, str]]


def after_load(report: LoadReport) -> Rows:
    """Make the lines of the summary, each a label ("" where it goes on) and a text that is safe on a terminal."""
    if report.dry:
        yield from _planned(report)
        return
    there = [outcome for outcome in report.outcomes if outcome.ok]
    yield "loaded", _images(len(there), len(report.outcomes), sum(len(one.image.platforms) for one in there))
    if known := sum(outcome.state == "there" for outcome in there):
        yield "", f"{known} of them were there already"
    sent = report.sent
    yield "sent", f"{count_text(sent.uploaded_blobs, 'blob')}, {size_text(sent.uploaded_bytes)}"
    if sent.mounted_blobs:
        yield "mounted", f"{_blobs(sent.mounted_blobs, sent.mounted_bytes)}, from other repositories there"
    if sent.present_blobs:
        yield "there", _blobs(sent.present_blobs, sent.present_bytes)
    yield "registry", one_line(report.destination)
    yield "time", duration_text(report.seconds)
    yield from some_rows("note", [f"{_name(one)}: {one.note}" for one in report.outcomes if one.note])
    yield from _failures(report.failed)


def after_validate(report: ComparisonReport) -> Rows:
    """Make the lines of the summary of a comparison."""
    same = [one for one in report.comparisons if one.ok]
    yield "same", _images(len(same), len(report.comparisons), sum(len(one.image.platforms) for one in same))
    yield "registry", one_line(report.destination)
    yield "time", duration_text(report.seconds)
    yield from _failures(report.failed)


def next_step(command: str, report: LoadReport | ComparisonReport, options: LoadOptions) -> Rows:
    """Make the lines after failures: a command that can be pasted into a shell; none when nothing failed."""
    if report.failed_list is not None:
        yield "next", f"what failed is in {one_line(str(report.failed_list))}; to push these images:"
        yield "", one_line(command_text([PROGRAM, command, *_flags(options, report.failed_list)]))


def _planned(report: LoadReport) -> Rows:
    platforms = sum(len(outcome.image.platforms) for outcome in report.outcomes)
    contents = {one.digest: one.size for outcome in report.outcomes for one in outcome.image.contents}
    yield "would load", _images(len(report.outcomes), len(report.outcomes), platforms)
    yield "at most", f"{count_text(len(contents), 'blob')} and manifests, {size_text(sum(contents.values()))}"
    yield "registry", one_line(report.destination)
    for outcome in report.outcomes:
        yield "image", one_line(f"{outcome.image.name} -> {_name(outcome)}")
        for problem in outcome.image.problems:
            yield "failed", one_line(problem)


def _images(good: int, of: int, platforms: int) -> str:
    images = count_text(good, "image") if good == of else f"{good} of {count_text(of, 'image')}"
    return f"{images}, {count_text(platforms, 'platform')}"


def _blobs(number: int, size: int) -> str:
    return f"{count_text(number, 'blob')}, {size_text(size)}"


def _name(outcome: LoadOutcome) -> str:
    return f"{outcome.target.name}:{outcome.target.tag}"


def _failures(failed: tuple[LoadOutcome, ...] | tuple[Comparison, ...]) -> Rows:
    for outcome in failed:
        if outcome.error is not None:
            yield "failed", one_line(f"{outcome.image.name}: {outcome.error.reason}")
            yield "", error_text(outcome.error)


def _flags(options: LoadOptions, failed: Path) -> list[str]:
    """The flags of a load of what failed that are not as they are by default."""
    words = ["-s", str(options.source)]
    words += ["-d", options.destination] if options.destination else []
    words += ["-f", str(failed)]
    words += ["-j", str(options.permits)] if options.permits != 1 else []
    words += ["--default-project", options.default_project] if options.default_project != "library" else []
    words += ["--repo-type", "harbor"] if options.harbor else []
    words += ["--harbor-https=false"] if not options.harbor_https else []
    words += ["--harbor-public"] if options.harbor_public else []
    words += ["--platform-tags"] if options.platform_tags else []
    words += ["--sparse-index"] if options.sparse_index else []
    words += ["--spool", str(options.spool)] if options.spool != Path() else []
    return words + network_flags(options.environment.destinations)
