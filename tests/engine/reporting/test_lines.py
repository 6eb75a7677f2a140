"""Each event has its line, whose name and fields stay."""

from __future__ import annotations

import json
from typing import Any, get_args

import pytest

from hangar_async.engine import events
from hangar_async.engine.events import Event
from hangar_async.engine.reporting.lines import AnyLine, Dropped, Error, Message, Progress, line_of
from hangar_async.engine.reporting.records import schema
from tests.engine.reporting.rig import DOCS, checked
from tests.engine.reporting.samples import COMPARED, DONE, IMAGE, LOADED, MIRRORED, PART, SAVED, VERIFIED

HOST = "reg.example.com"
LEAK = "https://me:hunter2@reg.example.com/"
CLEAN = "https://***@reg.example.com/"
LINES: list[tuple[Event, dict[str, Any]]] = [
    (events.RunStarted(3, 4), {"event": "run-started", "images": 3, "requests": 4}),
    (events.CheckStarted(9), {"event": "check-started", "size": 9}),
    (events.Notice(LEAK), {"event": "notice", "text": CLEAN}),
    (
        events.ImagePlanned("app:1", 2, 14, 99),
        {"event": "image-planned", "name": "app:1", "platforms": 2, "new_blobs": 14, "new_bytes": 99},
    ),
    (
        events.BlobStarted(PART, 9, "app:1", 3),
        {"event": "blob-started", "digest": str(PART), "size": 9, "image": "app:1", "start": 3},
    ),
    (events.BlobEnded(PART, 9, True), {"event": "blob-ended", "digest": str(PART), "size": 9, "ok": True}),
    (events.BlobReused(PART, 9), {"event": "blob-reused", "digest": str(PART), "size": 9}),
    (
        events.Retrying("blob", LEAK, 0.5, 1),
        {"event": "retrying", "request": "blob", "reason": CLEAN, "wait": 0.5, "attempt": 1},
    ),
    (events.HostClosed(HOST, LEAK, 5.0), {"event": "host-closed", "host": HOST, "reason": CLEAN, "seconds": 5.0}),
    (
        events.HostUnreachable(HOST, LEAK, 60.0),
        {"event": "host-unreachable", "host": HOST, "reason": CLEAN, "longest": 60.0},
    ),
    (events.HostReached(HOST), {"event": "host-reached", "host": HOST}),
    (
        events.QuotaReported(HOST, 7, 100, 3600),
        {"event": "quota-reported", "host": HOST, "remaining": 7, "limit": 100, "window": 3600},
    ),
    (events.Committing("out.tar.gz"), {"event": "committing", "path": "out.tar.gz"}),
    (
        events.Listening(events.Served("127.0.0.1:5000", "http://127.0.0.1:5000", (IMAGE,))),
        {"event": "listening", "address": "127.0.0.1:5000", "url": "http://127.0.0.1:5000", "images": 1},
    ),
    (events.Reloaded("the users"), {"event": "reloaded", "name": "the users"}),
    (events.JobScheduled("a", 9.5, 2), {"event": "job-scheduled", "job": "a", "start": 9.5, "passed_over": 2}),
    (events.JobStarted("a"), {"event": "job-started", "job": "a"}),
    (
        events.JobEnded("a", 3, LEAK, "disk"),
        {"event": "job-ended", "job": "a", "status": 3, "error": CLEAN, "reason": "disk"},
    ),
    (
        events.Answered("127.0.0.1", "GET", "/v2/", 200, 9, 0.5, "curl"),
        {
            "event": "answered",
            "client": "127.0.0.1",
            "method": "GET",
            "path": "/v2/",
            "status": 200,
            "size": 9,
            "seconds": 0.5,
            "agent": "curl",
        },
    ),
]


@pytest.mark.parametrize(("event", "expected"), LINES, ids=lambda value: type(value).__name__)
def test_an_event_has_its_line(event: Event, expected: dict[str, Any]) -> None:
    line = checked(str(line_of(event)), "events")
    assert list(line)[:2] == ["event", "time"]
    assert {name: value for name, value in line.items() if name != "time"} == expected


@pytest.mark.parametrize(
    ("event", "status", "done"),
    [
        (events.RunEnded(SAVED), 1, 1),
        (events.LoadEnded(LOADED), 0, 1),
        (events.MirrorEnded(MIRRORED), 0, 1),
        (events.ComparisonEnded(COMPARED), 0, 0),
        (events.VerifyEnded(VERIFIED), 1, 1),
    ],
)
def test_the_end_of_a_run_has_its_sums(event: Event, status: int, done: int) -> None:
    line = checked(str(line_of(event)), "events")
    assert (line["event"], line["status"], line["totals"]["done"]) == ("run-ended", status, done)


def test_the_end_of_an_image_has_its_record() -> None:
    line = checked(str(line_of(events.ImageEnded(DONE))), "events")
    assert (line["event"], line["image"]["name"], line["image"]["status"]) == ("image-ended", DONE.name, "done")


@pytest.mark.parametrize("event", [events.BlobProgress(PART, 1, 1), events.Checked(1), events.ArchiveProgress(1, 0)])
def test_bytes_that_move_have_no_line_of_their_own(event: Event) -> None:
    assert line_of(event) is None


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (Error(time="t", reason="usage", message="m", advice="", status=2), "error"),
        (Message(time="t", text="m"), "message"),
        (Dropped(time="t", lines=3), "dropped"),
        (
            Progress(time="t", images=3, done=1, failed=0, bytes=5, planned_bytes=9, checked_bytes=0, archive_bytes=0),
            "progress",
        ),
    ],
)
def test_a_line_that_is_no_event_of_the_engine_has_a_name_too(line: AnyLine, name: str) -> None:
    assert checked(str(line), "events")["event"] == name


def test_every_event_of_the_engine_is_known() -> None:
    known = {type(event) for event, _ in LINES}
    silent = {events.BlobProgress, events.Checked, events.ArchiveProgress}
    ends = {events.RunEnded, events.LoadEnded, events.MirrorEnded, events.ComparisonEnded, events.VerifyEnded}
    assert set(get_args(events.Event)) == known | silent | ends | {events.ImageEnded}


def test_the_published_schema_is_that_of_the_lines() -> None:
    """`json.dumps(schema(AnyLine, TITLE), indent=2)` is the new one after a change."""
    found = json.loads((DOCS / "events.schema.json").read_text())
    assert found == schema(AnyLine, found["title"])


@pytest.mark.parametrize("kind", get_args(AnyLine), ids=lambda kind: kind.__name__)
def test_each_line_is_on_the_page_with_its_fields(kind: type[AnyLine]) -> None:
    page = (DOCS / "events.md").read_text()
    name = str(kind.__struct_config__.tag)
    [row] = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    for field in kind.__struct_fields__:
        assert field == "time" or f"`{field}`" in row, field
