"""The document of the report of any verb."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from hangar_async import __version__
from hangar_async.engine.outcomes import PrunedTag, VerifiedImage
from hangar_async.engine.reporting.records import (
    DRY_RUN,
    KEPT,
    NOT_REACHED,
    SAME_IMAGE,
    End,
    ErrorRecord,
    ImageRecord,
    InvalidRecord,
    OutputRecord,
    ReferrersRecord,
    ReportDocument,
    TagRecord,
    Totals,
)
from hangar_async.engine.reporting.secrets import plain, public_options, without_secrets
from hangar_async.engine.reports import (
    AnyReport,
    Comparison,
    ImageOutcome,
    LoadOutcome,
    MirrorOutcome,
    Outcome,
    Output,
    ReferrerCounts,
)
from hangar_async.errors import HangarError, RateLimited
from hangar_async.imagelist import Entry, InvalidLine
from hangar_async.mirrorlist import MirrorEntry
from hangar_async.oci import Digest

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

#: The status of an outcome by its state.
_STATES: Mapping[str, Mapping[str, str]] = {
    "pushed": {"status": "done"},
    "copied": {"status": "done"},
    "present": {"status": "unchanged"},
    "unchanged": {"status": "unchanged"},
    "planned": {"status": "skipped", "reason": DRY_RUN},
    "kept": {"status": "skipped", "reason": KEPT},
}
_SAME = {"status": "skipped", "reason": SAME_IMAGE}
#: The sums of blobs and bytes in the totals, and those that have another name in a Traffic or a Sent.
SUMS = (
    "blobs",
    "bytes",
    "reused_blobs",
    "reused_bytes",
    "resumed_bytes",
    "mounted_blobs",
    "mounted_bytes",
    "present_blobs",
    "present_bytes",
)
_RENAMED = {"fetched_blobs": "blobs", "fetched_bytes": "bytes", "uploaded_blobs": "blobs", "uploaded_bytes": "bytes"}


def report_document(
    command: str, report: AnyReport, options: DataclassInstance | None = None, started: datetime | None = None
) -> ReportDocument:
    """Make the document of the report of a verb; `command` is its name as a command, such as `load-validate`.

    Secrets among the options are left out. `started` is now where it is not given.
    """

    def given(name: str, default: Any = ()) -> Any:
        return getattr(report, name, default)

    transfers = given("traffic", None) or given("sent", None)
    failed_list = given("failed_list", None)
    return make_document(
        command,
        options,
        started or datetime.now(UTC),
        given("seconds", 0.0),
        [record_of(outcome) for outcome in report.outcomes],
        {} if transfers is None else asdict(transfers),
        invalid=given("invalid"),
        duplicates=given("duplicates", 0),
        problems=given("problems"),
        notices=given("notices"),
        output=_output(given("output", None)),
        failed_list=None if failed_list is None else plain(failed_list),
        pruned=[_tag_record(tag) for tag in given("pruned")],
    )


def _tag_record(tag: PrunedTag) -> TagRecord:
    reason = without_secrets(tag.reason)
    return TagRecord(target=str(tag.target), digest=str(tag.digest), status=tag.state, reason=reason)


def make_document(
    command: str,
    options: DataclassInstance | None,
    started: datetime,
    seconds: float,
    images: Sequence[ImageRecord],
    transfers: Mapping[str, int],
    *,
    end: End = "complete",
    error: BaseException | None = None,
    invalid: Iterable[InvalidLine] = (),
    duplicates: int = 0,
    problems: Iterable[str] = (),
    notices: Iterable[str] = (),
    output: OutputRecord | None = None,
    failed_list: str | None = None,
    pruned: Sequence[TagRecord] = (),
) -> ReportDocument:
    """Make the document of a run by its parts; `transfers` are sums by the names of a Traffic or a Sent."""
    lines = [
        InvalidRecord(list=plain(line.name), line=line.line, message=without_secrets(line.why)) for line in invalid
    ]
    sums = {_RENAMED.get(name, name): value for name, value in transfers.items()}
    return ReportDocument(
        command=command,
        program=program_name(),
        options={} if options is None else public_options(options),
        started=time_text(started),
        seconds=round(seconds, 3),
        end=end,
        error=None if error is None else error_record(error),
        images=list(images),
        invalid=lines,
        problems=[without_secrets(text) for text in problems],
        notices=[without_secrets(text) for text in notices],
        output=output,
        failed_list=failed_list,
        totals=totals_of(images, sums, invalid=len(lines), duplicates=duplicates),
        runs=[],
        pruned=list(pruned),
    )


def program_name() -> str:
    """Return the name and the version of this program."""
    return f"hangar-async {__version__}"


def time_text(moment: datetime) -> str:
    """Write a time as RFC 3339 has it, in UTC: `2026-01-31T12:00:00.000Z`."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def totals_of(images: Collection[ImageRecord], sums: Mapping[str, int], *, invalid: int, duplicates: int) -> Totals:
    """Make the totals of images, and of sums by their names in the totals."""
    states = Counter(record.status for record in images)
    return Totals(
        images=states.total(),
        done=states["done"],
        unchanged=states["unchanged"],
        failed=states["failed"],
        skipped=states["skipped"],
        invalid=invalid,
        duplicates=duplicates,
        referrers=_sum([record.referrers for record in images if record.referrers is not None]),
        **{name: sums.get(name, 0) for name in SUMS},
    )


def _sum(counts: Collection[ReferrersRecord]) -> ReferrersRecord:
    names = ReferrersRecord.__struct_fields__
    return ReferrersRecord(**{name: sum(getattr(count, name) for count in counts) for name in names})


def error_record(error: BaseException) -> ErrorRecord:
    """Make the record of an error; one that is not of this package is a fault of the program."""
    if not isinstance(error, HangarError):
        message = without_secrets(f"{type(error).__name__}: {error}")
        return ErrorRecord(reason="unexpected", message=message, advice="please report it", retriable=None)
    # A quota that is used up is waited for no longer in this run; a later one may have it.
    is_retriable = error.transient or isinstance(error, RateLimited)
    message, advice = without_secrets(error), without_secrets(error.advice)
    return ErrorRecord(reason=error.reason, message=message, advice=advice, retriable=is_retriable)


def record_of(outcome: Outcome) -> ImageRecord:
    """Make the record of the outcome of an image."""
    image = outcome.image
    fields: dict[str, Any] = {
        "name": outcome.name,
        "target": None,
        "line": None,
        "text": outcome.name,
        "reason": None,
        "message": None,
        "advice": None,
        "retriable": None,
        "same_as": None,
        "source_digest": None if image is None else _text(image.original or image.digest),
        "digest": None,
        "replaced": None,
        "platforms": [str(one.platform) for one in image.platforms] if image and image.platforms else None,
        "size": image.size if outcome.size is None and image and image.contents else outcome.size,
        "bytes": outcome.transferred,
        "seconds": round(outcome.seconds, 3),
        "referrers": _referrers(getattr(outcome, "referrers", None)),
        "notes": [],
    }
    fields |= _of_error(outcome.error) if outcome.error is not None else {}
    return ImageRecord(**{**fields, **_of_verb(outcome)})


def _referrers(counts: ReferrerCounts | None) -> ReferrersRecord | None:
    return None if counts is None else ReferrersRecord(**asdict(counts))


def not_reached(record: ImageRecord) -> ImageRecord:
    """Return the record of an image whose turn did not come."""
    return replace(
        record, status="skipped", reason=NOT_REACHED, message=None, advice=None, retriable=True, same_as=None
    )


def _of_error(error: HangarError) -> dict[str, Any]:
    record = error_record(error)
    return {name: getattr(record, name) for name in record.__struct_fields__}


def _of_verb(outcome: Outcome) -> dict[str, Any]:
    """Return the fields of an outcome that are not alike for all verbs."""
    match outcome:
        case ImageOutcome():
            state = "copied" if outcome.image else "planned"
            fields = _of_line(outcome.entry, outcome.same_as, state, outcome.error)
            held = outcome.image.digest if outcome.image else None
            source = outcome.image.original or held if outcome.image else None
            notes = [without_secrets(note) for note in outcome.notes]
            return {**fields, "source_digest": _text(source), "digest": _text(held), "notes": notes}
        case MirrorOutcome():
            fields = _of_line(outcome.entry, outcome.same_as, outcome.state, outcome.error)
            fields |= {"target": str(outcome.entry.target), "source_digest": _text(outcome.source_digest)}
            return {**fields, **_of_tag(outcome)}
        case LoadOutcome():
            return {**_state(outcome.state, outcome.error), "target": str(outcome.target), **_of_tag(outcome)}
        case Comparison():
            target, digest = str(outcome.target), _text(outcome.digest)
            return {**_state("unchanged", outcome.error), "target": target, "digest": digest}
        case VerifiedImage():
            return {**_state("copied", outcome.error), "digest": _text(outcome.image.digest), "seconds": None}


def _of_line(
    entry: Entry | MirrorEntry, same_as: Entry | MirrorEntry | None, state: str, error: HangarError | None
) -> dict[str, Any]:
    fields = {"line": entry.line, "text": entry.text, **_state(state, error)}
    if same_as is not None:
        fields |= {"same_as": same_as.line} if error else {"same_as": same_as.line, **_SAME}
    return fields


def _of_tag(outcome: LoadOutcome | MirrorOutcome) -> dict[str, Any]:
    """Return the fields of an image that has a name at a registry now."""
    notes = [without_secrets(outcome.note)] if outcome.note else []
    return {"digest": _text(outcome.digest), "replaced": _text(outcome.replaced), "notes": notes}


def _state(state: str, error: HangarError | None) -> dict[str, Any]:
    """Return the status of an outcome, and the reason where nothing was done; those of a failure are known already."""
    return {"status": "failed"} if error is not None else {**_STATES[state]}


def _text(digest: Digest | None) -> str | None:
    return None if digest is None else str(digest)


def _output(output: Output | None) -> OutputRecord | None:
    if output is None:
        return None
    files, kept = [plain(path) for path in output.files], output.kept
    return OutputRecord(
        files=files, bytes=output.size, format=output.format, kept=None if kept is None else plain(kept)
    )
