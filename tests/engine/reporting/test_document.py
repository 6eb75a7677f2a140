"""Each outcome has its record, and each report its document."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hangar_async.engine.reporting.document import (
    error_record,
    make_document,
    not_reached,
    record_of,
    report_document,
)
from hangar_async.engine.reporting.records import ReferrersRecord
from hangar_async.engine.reports import AnyReport, Comparison, ImageOutcome, MirrorOutcome, Outcome
from hangar_async.errors import NotFound, RateLimited
from tests.engine.reporting.rig import checked
from tests.engine.reporting.samples import (
    COMPARED,
    COPIED,
    DONE,
    ENTRY,
    ERROR,
    FAILED,
    IMAGE,
    LOADED,
    MIRRORED,
    NAME,
    PAIR,
    PART,
    PUSHED,
    ROOT,
    SAME,
    SAVED,
    TARGET,
    VERIFIED,
    WRONG,
)

OF_LIST: dict[str, Any] = {"line": 3, "text": NAME, "target": None}
TO: dict[str, Any] = {"line": None, "text": NAME, "target": str(TARGET)}


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (DONE, {**OF_LIST, "status": "done", "notes": ["a layer is left out"], "seconds": 1.235, "size": 1_000}),
        (DONE, {"source_digest": str(ROOT), "digest": str(PART), "platforms": ["linux/amd64"], "bytes": 900}),
        (FAILED, {"status": "failed", "reason": "network", "message": "the connection broke", "retriable": True}),
        (FAILED, {"advice": "try again", "digest": None, "platforms": None, "line": 4}),
        (SAME, {"status": "skipped", "reason": "same image", "same_as": 3, "line": 5, "text": f"{NAME}@{ROOT}"}),
        # It was saved, and its source has another image now.
        (replace(DONE, error=ERROR), {"status": "failed", "digest": str(PART)}),
        (ImageOutcome(ENTRY), {"status": "skipped", "reason": "dry run"}),
        (PUSHED, {**TO, "status": "done", "source_digest": str(ROOT), "digest": str(PART), "replaced": str(ROOT)}),
        (PUSHED, {"notes": ["only a part"], "bytes": 5, "size": None}),
        (replace(PUSHED, state="present"), {"status": "unchanged"}),
        (replace(PUSHED, state="kept"), {"status": "skipped", "reason": "kept"}),
        (DONE, {"referrers": ReferrersRecord(signatures=2, attestations=1, others=0)}),
        (FAILED, {"referrers": None}),
        (replace(PUSHED, state="planned"), {"status": "skipped", "reason": "dry run"}),
        (replace(PUSHED, state="failed", error=ERROR), {"status": "failed"}),
        (COPIED, {**TO, "line": 3, "text": PAIR.text, "status": "done", "source_digest": str(ROOT), "size": 1_000}),
        (MirrorOutcome(PAIR, "unchanged", ROOT, ROOT), {"status": "unchanged", "platforms": None, "size": None}),
        (MirrorOutcome(PAIR, "failed", error=ERROR), {"status": "failed", "source_digest": None}),
        (replace(COPIED, same_as=PAIR), {"status": "skipped", "reason": "same image", "same_as": 3}),
        (MirrorOutcome(PAIR, "failed", error=ERROR, same_as=PAIR), {"status": "failed", "same_as": 3}),
        (COMPARED.outcomes[0], {**TO, "status": "unchanged", "digest": str(PART)}),
        (Comparison(IMAGE, TARGET, ERROR), {"status": "failed", "digest": None}),
        (VERIFIED.outcomes[0], {**TO, "target": None, "status": "done", "seconds": None}),
        (WRONG, {"status": "failed", "reason": "bad content", "message": "a blob is missing"}),
    ],
)
def test_an_outcome_has_its_record(outcome: Outcome, expected: dict[str, Any]) -> None:
    record = record_of(outcome)
    assert record.name == outcome.name
    assert {name: getattr(record, name) for name in expected} == expected


def test_an_image_whose_turn_did_not_come_can_be_tried_again() -> None:
    record = not_reached(record_of(FAILED))
    assert (record.status, record.reason, record.message, record.retriable) == ("skipped", "not reached", None, True)


@pytest.mark.parametrize(
    ("error", "is_retriable"),
    [
        (RateLimited("too many", host="h", status=429), True),
        (NotFound("none", host="h", status=404), False),
        (ERROR, True),
    ],
)
def test_an_error_says_whether_a_later_run_can_succeed(error: Exception, is_retriable: bool) -> None:
    assert error_record(error).retriable == is_retriable


@pytest.mark.parametrize(
    ("command", "report", "totals"),
    [
        ("save", SAVED, {"images": 3, "done": 1, "failed": 1, "skipped": 1, "invalid": 1, "duplicates": 2}),
        ("save", SAVED, {"blobs": 4, "bytes": 900, "reused_blobs": 1, "reused_bytes": 100, "resumed_bytes": 10}),
        ("load", LOADED, {"images": 1, "done": 1, "blobs": 1, "bytes": 5}),
        ("mirror", MIRRORED, {"images": 1, "done": 1, "mounted_blobs": 2, "mounted_bytes": 20}),
        ("load-validate", COMPARED, {"images": 1, "unchanged": 1, "bytes": 0}),
        ("verify", VERIFIED, {"images": 2, "done": 1, "failed": 1}),
    ],
)
def test_each_report_has_its_document(command: str, report: AnyReport, totals: dict[str, int]) -> None:
    document = checked(str(report_document(command, report)))
    assert {name: document["totals"][name] for name in totals} == totals
    assert (document["command"], document["end"], document["runs"]) == (command, "complete", [])


def test_what_is_beside_the_images_is_in_the_document() -> None:
    started = datetime(2026, 1, 31, 12, 0, 0, 5_000, UTC)
    document = checked(str(report_document("save", SAVED, started=started)))
    assert document["started"] == "2026-01-31T12:00:00.005Z"
    assert document["invalid"] == [{"list": "list.txt", "line": 9, "message": "'a b' has white space"}]
    assert document["output"] == {"files": ["a.tar.gz"], "bytes": 950, "format": "gzip", "kept": "b.tar.gz"}
    assert (document["failed_list"], document["notices"]) == ("save-failed.txt", ["a notice"])
    assert checked(str(report_document("verify", VERIFIED)))["problems"] == ["a part is damaged"]


def test_referrers_are_summed() -> None:
    [document] = [report_document("save", replace(SAVED, outcomes=(DONE, DONE, FAILED)))]
    assert document.totals.referrers == ReferrersRecord(signatures=4, attestations=2, others=0)


def test_no_text_brings_a_secret_into_the_document() -> None:
    secret = "https://user:hunter2@reg.example.com/v2/?token=hunter2"
    leaking = replace(
        SAVED,
        outcomes=(replace(DONE, notes=(secret,), error=NotFound(secret, host="h", status=404, advice=secret)),),
        invalid=(replace(SAVED.invalid[0], why=secret),),
        notices=(secret,),
    )
    text = str(report_document("save", leaking))
    error = NotFound(secret, host="h", status=404)
    text += str(make_document("save", None, datetime.now(UTC), 0.0, [], {}, error=error, problems=[secret]))
    assert "hunter2" not in text
    assert text.count("reg.example.com/v2/") >= 6


def test_a_path_that_is_no_text_does_not_break_the_document() -> None:
    name = Path("list \udcff.txt")
    document = checked(str(report_document("save", replace(SAVED, failed_list=name))))
    assert document["failed_list"] == "list \\udcff.txt"
