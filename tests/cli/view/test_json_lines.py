"""Standard error has lines of JSON alone."""

from __future__ import annotations

import io
import os
import threading
from typing import Any

import pytest

from hangar_async.cli.view import stream as streams
from hangar_async.cli.view.json_lines import JsonStream, JsonView, error_line
from hangar_async.cli.view.plain import INTERVAL
from hangar_async.cli.view.stream import LIMIT, in_background
from hangar_async.engine.events import BlobProgress, BlobReused, ImageEnded, ImagePlanned, Notice, RunStarted
from hangar_async.errors import NotFound
from tests.cli.samples import Clock, digest, failed, saved
from tests.engine.reporting.rig import checked

GONE = NotFound("gone:1 is not there", host="r.example", status=404, advice="check name and tag")


def lines(stream: JsonStream, text: io.StringIO) -> list[dict[str, Any]]:
    stream.end()
    return [checked(line, "events") for line in text.getvalue().splitlines()]


def test_each_event_is_a_line_and_progress_comes_from_time_to_time() -> None:
    text, clock = io.StringIO(), Clock()
    stream = JsonStream(text)
    view = JsonView(stream, clock=clock)
    view(RunStarted(2, 4))
    view(ImagePlanned("one:1", 1, 2, 500))
    view(BlobProgress(digest(1), 200, 200))
    clock.now += INTERVAL
    view(BlobProgress(digest(1), 100, 300))
    view(ImageEnded(saved("one:1")))
    view.close()
    view.say("interrupted: nothing was written")
    found = lines(stream, text)
    assert [line["event"] for line in found] == ["run-started", "image-planned", "progress", "image-ended", "message"]
    assert found[2] | {"images": 2, "done": 0, "bytes": 300, "planned_bytes": 500} == found[2]
    assert found[4]["text"] == "interrupted: nothing was written"


def test_secrets_are_hidden_in_texts_alone() -> None:
    text = io.StringIO()
    stream = JsonStream(text)
    stream.clean = lambda line: line.replace("500", "***").replace("name", "***").replace("true", "***")
    JsonView(stream)(ImagePlanned("true-500:1", 1, 2, 500))
    [line] = lines(stream, text)
    assert (line["name"], line["new_bytes"]) == ("***-***:1", 500)


def test_quiet_leaves_warnings_and_failures() -> None:
    text, clock = io.StringIO(), Clock()
    stream = JsonStream(text)
    view = JsonView(stream, quiet=True, clock=clock)
    clock.now += INTERVAL
    for event in (
        RunStarted(2, 4),
        Notice("a bound was applied"),
        BlobReused(digest(1), 5),
        ImageEnded(saved("one:1")),
        ImageEnded(failed("gone:1", GONE)),
    ):
        view(event)
    found = lines(stream, text)
    assert [line["event"] for line in found] == ["notice", "image-ended"]
    assert found[1]["image"]["reason"] == "not found"


def test_text_of_any_origin_becomes_messages_without_secrets() -> None:
    text = io.StringIO()
    stream = JsonStream(text)
    for piece in ("one ", "line\nanother at https://me:hunter2@r.example\n\n", "and a re", "st"):
        stream.write(piece)
    assert not stream.isatty()
    assert [line["text"] for line in lines(stream, text)] == [
        "one line",
        "another at https://***@r.example",
        "and a rest",
    ]


def test_lines_that_nobody_reads_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    writes, go_on = os.write, threading.Event()

    def wait(descriptor: int, data: bytes) -> int:
        go_on.wait(20)
        return writes(descriptor, data)

    monkeypatch.setattr(streams, "_write_some", wait)
    with os.fdopen(writer, "w") as output, os.fdopen(reader) as read:
        stream = JsonStream(output)
        for _ in range(LIMIT + 50):
            stream.write("x\n")
        reading = threading.Thread(target=lambda: found.extend(read))
        found: list[str] = []
        reading.start()
        go_on.set()
        stream.end()
        output.close()
        reading.join(20)
    names = [checked(line, "events") for line in found]
    dropped = [line["lines"] for line in names if line["event"] == "dropped"]
    assert sum(dropped) + len(names) - len(dropped) == LIMIT + 50
    assert sum(dropped) >= 49


@pytest.mark.parametrize(
    ("error", "status", "reason"), [(GONE, 3, "not found"), (None, 2, "usage"), (None, 3, "unexpected")]
)
def test_the_error_that_ends_a_command_has_a_line(error: NotFound | None, status: int, reason: str) -> None:
    line = checked(str(error_line("no such option", status, error)), "events")
    assert (line["event"], line["reason"], line["status"]) == ("error", reason, status)
    assert line["message"] == ("no such option" if error is None else "gone:1 is not there")


def test_a_stream_of_json_is_made_on_request() -> None:
    stream = in_background(io.StringIO(), as_json=True)
    assert isinstance(stream, JsonStream)
    streams.end(stream)
