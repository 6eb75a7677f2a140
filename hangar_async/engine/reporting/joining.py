"""The report of several runs: of the shards of a list, and of those that tried failed images again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from msgspec.structs import asdict, replace

from hangar_async.engine.reporting.document import SUMS, program_name, totals_of
from hangar_async.engine.reporting.records import (
    DRY_RUN,
    NOT_REACHED,
    SAME_IMAGE,
    ImageRecord,
    ReportDocument,
    RunRecord,
)
from hangar_async.errors import UsageError

#: The reasons of images of which a run has nothing to say.
_NOTHING_DONE = (DRY_RUN, SAME_IMAGE, NOT_REACHED)
#: Commands whose reports are of one kind.
_KINDS = {"sync": "save"}


def join_reports(documents: Sequence[ReportDocument]) -> ReportDocument:
    """Join the reports of runs, in the order of their starts.

    A later word about an image counts, but for one that nothing was done for it; an image that is `unchanged` since an
    earlier run of these brought it stays `done`. Bytes and seconds are summed. The same report counts once. Raises
    UsageError for reports of different kinds of commands.
    """
    ordered = sorted(_each_once(documents), key=lambda document: document.started)
    _check_kinds(ordered)
    images: dict[tuple[str, str | None], ImageRecord] = {}
    for document in ordered:
        for record in document.images:
            earlier = images.get(record.key)
            images[record.key] = record if earlier is None else _joined(earlier, record)
    unfinished = _unfinished(ordered)
    invalid = list(dict.fromkeys(line for document in ordered for line in document.invalid))
    totals = [asdict(document.totals) for document in ordered]
    runs = [run for document in ordered for run in document.runs or [document.run]]
    return ReportDocument(
        command=ordered[0].command,
        program=program_name(),
        options=_shared_options(runs),
        started=ordered[0].started,
        seconds=round(sum(document.seconds for document in ordered), 3),
        end="complete" if unfinished is None else unfinished.end,
        error=None if unfinished is None else unfinished.error,
        images=list(images.values()),
        invalid=invalid,
        problems=_problems(ordered),
        notices=list(dict.fromkeys(text for document in ordered for text in document.notices)),
        output=None,
        failed_list=None,
        totals=totals_of(
            images.values(),
            {name: sum(one[name] for one in totals) for name in SUMS},
            invalid=len(invalid),
            duplicates=sum(one["duplicates"] for one in totals),
        ),
        runs=runs,
        pruned=list({tag.target: tag for document in ordered for tag in document.pruned}.values()),
    )


def failed_lines(document: ReportDocument) -> list[str]:
    """Return the list of the images that are still to be tried, and of the invalid lines as comments."""
    lines = [record.text for record in document.images if record.is_missing]
    lines += [f"# {line.list}:{line.line}: {line.message}" for line in document.invalid]
    # A report may come from anywhere: a line stays one line.
    return [" ".join(line.splitlines()) for line in lines]


def _each_once(documents: Iterable[ReportDocument]) -> list[ReportDocument]:
    """Leave out reports whose runs are in earlier ones."""
    chosen: list[ReportDocument] = []
    known: list[RunRecord] = []
    for document in documents:
        runs = document.runs or [document.run]
        if any(run not in known for run in runs):
            chosen.append(document)
            known += runs
    return chosen


def _check_kinds(documents: Sequence[ReportDocument]) -> None:
    first = documents[0].command
    for document in documents:
        if _KINDS.get(document.command, document.command) != _KINDS.get(first, first):
            raise UsageError(
                f"reports of {first} and of {document.command} cannot be joined: join those of one command"
            )


def _joined(earlier: ImageRecord, later: ImageRecord) -> ImageRecord:
    """Join two records of an image; the line is that of the first list, which later ones were made of."""
    was_skipped = later.reason in _NOTHING_DONE and earlier.reason not in _NOTHING_DONE
    is_kept = later.status == "unchanged" and earlier.status == "done" and later.digest == earlier.digest
    seconds = [one.seconds for one in (earlier, later) if one.seconds is not None]
    return replace(
        earlier if was_skipped or is_kept else later,
        line=earlier.line,
        text=earlier.text,
        bytes=earlier.bytes + later.bytes,
        seconds=round(sum(seconds), 3) if seconds else None,
    )


def _unfinished(ordered: Sequence[ReportDocument]) -> ReportDocument | None:
    """Return the last run that has not come to its end, and that later ones have not made good."""
    later: set[tuple[str, str | None]] = set()
    for document in reversed(ordered):
        if document.end != "complete":
            # Its archive was not made, so that all of its images are needed again; other targets keep what they have.
            needed = [one.key for one in document.images if document.command == "save" or one.is_missing]
            if not document.images or not later.issuperset(needed):
                return document
        later.update(record.key for record in document.images if record.reason != NOT_REACHED)
    return None


def _problems(ordered: Iterable[ReportDocument]) -> list[str]:
    """Return the problems of each archive when it was verified last."""
    last = {str(document.options.get("source")): document.problems for document in ordered}
    return [text for problems in last.values() for text in problems]


def _shared_options(runs: Sequence[RunRecord]) -> dict[str, object]:
    """Return the options that all runs had."""
    first, *others = [run.options for run in runs]
    return {name: value for name, value in first.items() if all(name in one and one[name] == value for one in others)}
