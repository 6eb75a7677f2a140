"""The summary at the end of a command."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hangar_async.archive.names import archive_path
from hangar_async.cli.view.text import (
    Pasted,
    Rows,
    count_text,
    flag_size,
    images_text,
    one_line,
    place_text,
    quota_text,
    quoted_path,
    referrers_text,
    size_text,
    time_text,
)
from hangar_async.engine.reports import (
    ComparisonReport,
    ImageOutcome,
    LoadOutcome,
    LoadReport,
    MirrorOutcome,
    MirrorReport,
    Output,
    ReferrerCounts,
    Report,
    Sent,
)

if TYPE_CHECKING:
    from hangar_async.config.jobs import JobLimits
    from hangar_async.config.options import (
        CompressOptions,
        MergeOptions,
        SaveOptions,
        SyncOptions,
    )
    from hangar_async.config.output import OutputSettings
    from hangar_async.config.target_options import LoadOptions, MirrorOptions
    from hangar_async.errors import HangarError

#: Seconds of a run from which it is explained.
_SLOW = 10.0
#: More images than these are many to move one at a time; and the jobs that are proposed then.
_MANY, _JOBS = 5, 8
_UNTAR = {"gzip": "tar -xz", "zstd": "tar --zstd -x"}
#: Seconds after the last image from which they are shown.
_TAIL = 0.1


def after_save(report: Report, options: SaveOptions) -> Rows:
    """Make the lines of the summary, each a label ("" where it goes on) and a text; the sum comes last."""
    yield from _traffic(report)
    if report.output is None:
        yield "output", "nothing was saved; nothing was written"
    elif options.format == "dir":
        yield "directory", place_text(report.output.path, report.output.size)
        yield "unpack", "nothing: it is ready for use"
    else:
        yield from _archive(report.output, options.output)
    yield from quota_rows(report)
    yield from _time(report, options.format != "dir")
    yield from _why(report)
    if report.validated:
        differ = sum(outcome.image is not None for outcome in report.failed)
        text = (
            f"{count_text(differ, 'image')} not as at the source now" if differ else "every image is as at its source"
        )
        yield "compared", text
    yield from _remarks(report)
    yield from _failures(report, "line")
    yield from _jobs_tip(options.limits, len(report.outcomes), report.traffic.fetched_blobs)
    yield from _images("saved", report)


def after_sync(report: Report, options: SyncOptions) -> Rows:
    """Make the lines of the summary of a sync."""
    yield from _traffic(report)
    if report.output is None:
        yield "directory", f"nothing was saved; the index of {one_line(str(options.cache))} is as it was"
    else:
        yield "directory", one_line(str(report.output.path.absolute()))
        from hangar_async.cli.view.summary_local import index_rows

        yield from index_rows(report.output.path)
    yield from quota_rows(report)
    yield from _time(report, False)
    yield from _why(report)
    yield from _remarks(report)
    yield from _failures(report, "line")
    yield from _jobs_tip(options.limits, len(report.outcomes), report.traffic.fetched_blobs)
    yield from _images("synced", report)


def after_compress(report: Report, options: CompressOptions | MergeOptions) -> Rows:
    """Make the lines of the summary of a compress or a merge."""
    if report.output is None:
        yield "output", f"no image of {one_line(', '.join(map(str, options.sources)))} is whole; nothing was written"
    else:
        yield from _archive(report.output, options.output)
    yield from _time(report, False)
    yield from _failures(report, "image")
    yield from _images("packed", report)


def _images(word: str, report: Report) -> Rows:
    same = sum(outcome.same_as is not None for outcome in report.outcomes)
    yield from _repeated(same + report.duplicates)
    yield from _referrers(report.outcomes)
    # The outcomes of many images are in a file: no list of them is made.
    saved = (outcome.image for outcome in report.outcomes if outcome.image is not None)
    text = images_text(saved, len(report.outcomes) - same)
    yield word, text + _wrong(report.failed, report.invalid)


def _referrers(outcomes: Iterable[ImageOutcome | LoadOutcome | MirrorOutcome]) -> Rows:
    counts = sum((outcome.referrers for outcome in outcomes if outcome.referrers is not None), ReferrerCounts())
    if text := referrers_text(counts):
        yield "referrers", text


def _jobs_tip(limits: JobLimits, images: int, moved: int) -> Rows:
    """Say what more jobs would do, after a run of many images one at a time."""
    if limits.jobs == 1 and images > _MANY and moved:
        yield "tip", f"the {images:,} images came one at a time: -j {_JOBS} would move {_JOBS} at once, and is faster"


def _repeated(lines: int) -> Rows:
    if lines:
        yield "repeated", f"{count_text(lines, 'line')} of the list named an image once more"


def _wrong(failed: Sequence[object], invalid: Sequence[object] = ()) -> str:
    """Write the numbers of failed images and of invalid lines, behind those of the others; "" without any."""
    text = f"; {len(failed):,} failed" if failed else ""
    return text + (f"; {count_text(len(invalid), 'line')} invalid" if invalid else "")


def _traffic(report: Report) -> Rows:
    traffic = report.traffic
    yield "fetched", f"{count_text(traffic.fetched_blobs, 'blob')} and manifests, {size_text(traffic.fetched_bytes)}"
    if traffic.reused_blobs:
        text = f"{count_text(traffic.reused_blobs, 'blob')} and manifests, {size_text(traffic.reused_bytes)}"
        yield "reused", f"{text}, from the cache"
    if traffic.resumed_bytes:
        yield "resumed", f"{size_text(traffic.resumed_bytes)} of blobs that an earlier run had begun"


def quota_rows(report: Report | MirrorReport) -> Rows:
    """Make the lines of the quotas that registries have told."""
    yield from (("quota", quota_text(quota)) for quota in report.quotas)


def _archive(output: Output, settings: OutputSettings) -> Rows:
    if settings.is_stream:
        yield "archive", f"standard output, {size_text(output.size)}"
        return
    target = output.path if settings.part_size is None else archive_path(output.path)
    if output.kept is not None:
        kept = one_line(str(output.kept))
        yield "kept", f"{kept} holds more of these images than this run saved, and stays (--replace replaces it)"
    by = f" by {output.compressor}" if output.compressor else ""
    yield "archive", f"{place_text(target, output.size)}, {settings.format}{by}"
    untar = _UNTAR[settings.format]
    if output.path == target:
        unpack = f"{untar}f {quoted_path(target)}"
    else:
        names = one_line(output.path.name)
        if len(output.files) > 1:
            names += f" to {one_line(output.files[-1].name)}"
        size = f" of {flag_size(settings.part_size)}" if settings.part_size and len(output.files) > 1 else ""
        yield "parts", f"{count_text(len(output.files), 'part')}{size}: {names}"
        unpack = f"cat {quoted_path(target)}.part* | {untar}"
    if settings.checksum != "none":
        # The names in it are of its own directory.
        change = f"cd {quoted_path(target.parent)} && " if target.parent != Path() else ""
        yield "check", Pasted(f"{change}sha256sum -c {quoted_path(Path(target.name + '.sha256'))}")
    yield "unpack", Pasted(unpack)


def _time(report: Report, archive: bool) -> Rows:
    text = time_text(report.seconds)
    if archive and report.output is not None and report.tail_seconds >= _TAIL:
        text += f"; the archive was whole {time_text(report.tail_seconds)} after the last image"
    yield "time", text


def _remarks(report: Report) -> Rows:
    yield from _some("invalid", [str(line) for line in report.invalid])
    if report.left_out:
        yield "left out", f"{count_text(report.left_out, 'companion')} of images, such as attestations, that are gone"
    yield from _notes((str(outcome.entry.reference), note) for outcome in report.outcomes for note in outcome.notes)


def _failures(report: Report, noun: str) -> Rows:
    failed = [(one.entry, one.error) for one in report.failed if one.error is not None]
    yield from _failed([(f"{noun} {entry.line}: {entry.text}", error) for entry, error in failed], report.failed_list)


def after_load(report: LoadReport, options: LoadOptions) -> Rows:
    """Make the lines of the summary of a load."""
    if report.dry:
        yield from _planned(report)
        return
    yield from sent_rows(report.sent)
    yield "registry", one_line(report.destination)
    yield "time", time_text(report.seconds)
    yield from _why(report)
    yield from _notes((_name(outcome), outcome.note) for outcome in report.outcomes if outcome.note)
    yield from _load_failures(report)
    yield from _jobs_tip(options.limits, len(report.outcomes), report.sent.uploaded_blobs)
    yield from _referrers(report.outcomes)
    loaded = [outcome for outcome in report.outcomes if outcome.ok and outcome.state != "kept"]
    if kept := sum(outcome.state == "kept" for outcome in report.outcomes):
        yield "kept", f"{count_text(kept, 'tag')} that name{'s' if kept == 1 else ''} another image there"
    if known := sum(outcome.state == "present" for outcome in loaded):
        yield "unchanged", f"{count_text(known, 'image')}, there already"
    yield "loaded", images_text([outcome.image for outcome in loaded], len(report.outcomes)) + _wrong(report.failed)


def sent_rows(sent: Sent) -> Rows:
    """Make the lines of what was sent."""
    yield "sent", f"{count_text(sent.uploaded_blobs, 'blob')}, {size_text(sent.uploaded_bytes)}"
    if sent.resumed_bytes:
        yield "resumed", f"{size_text(sent.resumed_bytes)} of blobs that an earlier run had sent"
    if sent.mounted_blobs:
        yield "mounted", f"{_blobs(sent.mounted_blobs, sent.mounted_bytes)}, from other repositories there"
    if sent.present_blobs:
        yield "there", _blobs(sent.present_blobs, sent.present_bytes)


def after_validate(report: ComparisonReport, _: object) -> Rows:
    """Make the lines of the summary of a comparison."""
    yield "registry", one_line(report.destination)
    yield "time", time_text(report.seconds)
    yield from _load_failures(report)
    same = [comparison.image for comparison in report.comparisons if comparison.ok]
    yield "same", images_text(same, len(report.comparisons)) + _wrong(report.failed)


def after_mirror(report: MirrorReport, options: MirrorOptions) -> Rows:
    """Make the lines of the summary of a mirror."""
    word, state = ("would copy", "planned") if report.dry else ("copied", "copied")
    states = Counter(outcome.state for outcome in report.outcomes if outcome.same_as is None)
    images = states.total()
    if report.dry:
        for outcome in report.outcomes:
            if outcome.same_as is None and outcome.state == state:
                yield "image", one_line(f"{outcome.entry.source} -> {outcome.entry.target}")
    else:
        yield from sent_rows(report.sent)
    yield from quota_rows(report)
    yield "time", time_text(report.seconds)
    yield from _why(report)
    yield from mirror_remarks(report)
    yield from _jobs_tip(options.limits, len(report.outcomes), report.sent.uploaded_blobs)
    yield from _repeated(len(report.outcomes) - images + report.duplicates)
    yield from _referrers(outcome for outcome in report.outcomes if outcome.same_as is None)
    if unlooked := report.unlooked:
        text = f"not looked for at {count_text(unlooked, 'unchanged image')} (--recheck-referrers)"
        yield "referrers", text
    if kept := states["kept"]:
        yield "kept", f"{count_text(kept, 'image')}: another one has the tag there, and stays"
    if unchanged := states["unchanged"]:
        yield "unchanged", f"{count_text(unchanged, 'image')}, there already"
    copied = (one.image for one in report.outcomes if one.same_as is None and one.state == state)
    text = images_text((image for image in copied if image is not None), images)
    yield word, text + _wrong(report.failed, report.invalid)


def after_mirror_validate(report: MirrorReport, _: object) -> Rows:
    """Make the lines of the summary of a comparison of both sides."""
    yield "time", time_text(report.seconds)
    yield from mirror_remarks(report)
    same = sum(outcome.ok for outcome in report.outcomes)
    text = f"{same} of {count_text(len(report.outcomes), 'image')}"
    yield "same", text + _wrong(report.failed, report.invalid)


def mirror_remarks(report: MirrorReport) -> Rows:
    """Make the lines about invalid lines, notes, and the images that failed."""
    yield from _some("invalid", [str(line) for line in report.invalid])
    yield from _notes((str(one.entry.target), one.note) for one in report.outcomes if one.note)
    failed = [(one.entry, one.error) for one in report.failed if one.error is not None]
    yield from _failed([(f"line {entry.line}: {entry.text}", error) for entry, error in failed], report.failed_list)


def _planned(report: LoadReport) -> Rows:
    for outcome in report.outcomes:
        yield "image", one_line(f"{outcome.image.name} -> {_name(outcome)}")
        for problem in outcome.image.problems:
            yield "failed", one_line(problem)
    images = [outcome.image for outcome in report.outcomes]
    contents = {content.digest: content.size for image in images for content in image.contents}
    yield "registry", one_line(report.destination)
    yield "at most", f"{count_text(len(contents), 'blob')} and manifests, {size_text(sum(contents.values()))}"
    yield "would load", images_text(images, len(images))


def _why(report: Report | LoadReport | MirrorReport) -> Rows:
    """Explain a run that people have waited for."""
    if report.effort is not None and report.effort.most and report.seconds >= _SLOW:
        from hangar_async.cli.view.why import why_rows

        yield from why_rows(report.effort)


# What many images share is grouped by a module that a run without remarks does not load.


def _some(label: str, texts: Sequence[str]) -> Rows:
    if texts:
        from hangar_async.cli.view.groups import some_rows

        yield from some_rows(label, texts)


def _notes(notes: Iterable[tuple[str, str]]) -> Rows:
    if found := list(notes):
        from hangar_async.cli.view.groups import note_rows

        yield from note_rows(found)


def _failed(failures: Sequence[tuple[str, HangarError]], failed_list: Path | None) -> Rows:
    if failures:
        from hangar_async.cli.view.groups import failure_rows

        yield from failure_rows(failures, failed_list)


def _blobs(number: int, size: int) -> str:
    return f"{count_text(number, 'blob')}, {size_text(size)}"


def _name(outcome: LoadOutcome) -> str:
    return f"{outcome.target.name}:{outcome.target.tag}"


def _load_failures(report: LoadReport | ComparisonReport) -> Rows:
    failed = [(one.image.name, one.error) for one in report.failed if one.error is not None]
    yield from _failed(failed, report.failed_list)
