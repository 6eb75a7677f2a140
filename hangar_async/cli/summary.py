"""The summary at the end of `save`: what there is now, where, and what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from hangar_async.cli.text import (
    PROGRAM,
    command_text,
    count_text,
    duration_text,
    error_text,
    flag_size,
    one_line,
    size_text,
)
from hangar_async.config import FORMATS, SaveOptions
from hangar_async.engine.report import Output, Report

_UNTAR = {"gzip": "tar -xz", "zstd": "tar --zstd -x"}
#: Invalid lines and notes of a list are shown up to this number; every failed image is.
_SHOWN = 20


def rows(report: Report, options: SaveOptions) -> Iterator[tuple[str, str]]:
    """Make the lines of the summary, each a label ("" where it goes on) and a text that is safe on a terminal."""
    yield from _images(report)
    yield from _traffic(report)
    if report.output is None:
        yield "output", "nothing was saved; nothing was written"
    else:
        yield from _output(report.output, options)
    yield "time", duration_text(report.seconds)
    yield from _remarks(report)
    yield from failures(report)
    yield from next_steps(report, options)


def failures(report: Report) -> Iterator[tuple[str, str]]:
    """Make the lines about each failed image: its line in the list, the reason, and what to do."""
    for outcome in report.failed:
        if outcome.error is not None:
            yield "failed", f"line {outcome.entry.line}: {one_line(outcome.entry.text)}: {outcome.error.reason}"
            yield "", error_text(outcome.error)


def next_steps(report: Report, options: SaveOptions) -> Iterator[tuple[str, str]]:
    """Make the lines on how to go on after failures; none when nothing failed."""
    if report.failed and report.failed_list is not None:
        yield "next", f"the failed lines are in {one_line(str(report.failed_list))}; to save these alone:"
        yield "", again(report, options)
        if report.output is not None and options.format != "dir":
            yield "", "or run the same command again for the whole archive: what is in the cache is not fetched again"


def again(report: Report, options: SaveOptions) -> str:
    """Make the command that saves only what failed, beside an output that was written."""
    words = [PROGRAM, "save", "-f", str(report.failed_list)]
    if report.output is not None:
        words += ["-d", str(_beside(options))]
    elif options.destination is not None:
        words += ["-d", str(options.destination)]
    words += _flags(options)
    return command_text(words)


def _images(report: Report) -> Iterator[tuple[str, str]]:
    saved, failed = len(report.saved), len(report.failed)
    platforms = sum(len(outcome.image.platforms) for outcome in report.saved if outcome.image)
    text = f"{saved} of {count_text(saved + failed, 'image')}" if failed else count_text(saved, "image")
    yield "saved", f"{text}, {count_text(platforms, 'platform')}"
    same = [outcome for outcome in report.outcomes if outcome.same_as is not None]
    twice = len(same) + report.duplicates
    if twice:
        yield "", f"{count_text(twice, 'line')} of the list named an image once more"


def _traffic(report: Report) -> Iterator[tuple[str, str]]:
    traffic = report.traffic
    yield "fetched", f"{count_text(traffic.fetched_blobs, 'blob')} and manifests, {size_text(traffic.fetched_bytes)}"
    if traffic.reused_blobs:
        text = f"{count_text(traffic.reused_blobs, 'blob')} and manifests, {size_text(traffic.reused_bytes)}"
        yield "reused", f"{text}, from the cache"


def _output(output: Output, options: SaveOptions) -> Iterator[tuple[str, str]]:
    target = options.target
    place = one_line(str(target.absolute()))
    if options.format == "dir":
        yield "directory", f"{place}, {size_text(output.size)}"
        yield "unpack", "nothing: it is ready for use"
        return
    yield "archive", f"{place}, {size_text(output.size)}, {options.format}"
    untar = _UNTAR[options.format]
    if output.path == target:
        yield "unpack", f"{untar}f {shlex.quote(one_line(str(target)))}"
        return
    names = one_line(output.path.name)
    if len(output.files) > 1:
        names += f" to {one_line(output.files[-1].name)}"
    size = f" of {flag_size(options.part_size)}" if options.part_size and len(output.files) > 1 else ""
    yield "parts", f"{count_text(len(output.files), 'part')}{size}: {names}"
    yield "unpack", f"cat {shlex.quote(one_line(str(target)))}.part* | {untar}"


def _remarks(report: Report) -> Iterator[tuple[str, str]]:
    yield from _some("invalid", [str(line) for line in report.invalid])
    notes = [f"{outcome.entry.reference}: {note}" for outcome in report.outcomes for note in outcome.notes]
    yield from _some("note", notes)


def _some(label: str, texts: list[str]) -> Iterator[tuple[str, str]]:
    for text in texts[:_SHOWN]:
        yield label, one_line(text)
    if len(texts) > _SHOWN:
        yield label, f"and {len(texts) - _SHOWN} more"


def _beside(options: SaveOptions) -> Path:
    """Name another output, so that the one that was written stays."""
    ending = FORMATS[options.format]
    target = options.target
    if ending and target.name.endswith(ending):
        return target.with_name(f"{target.name.removesuffix(ending)}-again{ending}")
    return target.with_name(f"{target.name}-again")


def _flags(options: SaveOptions) -> list[str]:
    """The flags that are not as they are by default."""
    words = [] if tuple(options.architectures) == ("amd64", "arm64") else ["-a", ",".join(options.architectures)]
    words += ["--os", ",".join(options.systems)] if {"all"}.isdisjoint(options.systems) and options.systems else []
    words += ["-c", options.format] if options.format != "gzip" else []
    words += ["-o", str(options.failed)] if options.failed not in (None, Path("save-failed.txt")) else []
    words += ["-j", str(options.permits)] if options.permits != 1 else []
    words += ["--part", "--part-size", flag_size(options.part_size)] if options.part_size else []
    words += ["-s", options.source] if options.source else []
    words += ["--include-foreign"] if options.include_foreign else []
    words += [] if options.environment.registries.tls_verify else ["--tls-verify=false"]
    return words
