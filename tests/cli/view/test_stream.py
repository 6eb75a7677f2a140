"""Pipes that nobody reads are real ones."""

from __future__ import annotations

import io
import os
import re
import threading
from pathlib import Path

import pytest

from hangar_async.cli.view.stream import LIMIT, BackgroundStream, drain, end, hide, in_background
from tests.cli.view.rig import full_pipe


def read_all(descriptor: int) -> str:
    return b"".join(iter(lambda: os.read(descriptor, 1 << 16), b"")).decode()


def test_texts_come_in_order() -> None:
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="ascii") as target:
        stream = BackgroundStream(target)
        assert (stream.encoding, stream.isatty(), stream.fileno()) == ("ascii", False, writer)
        for number in range(100):
            stream.write(f"{number}\n")
        stream.write("\u00e4\n")
        stream.flush()
        stream.end()
    text = read_all(reader)
    os.close(reader)
    assert text.split() == [*map(str, range(100)), "\\xe4"]


def test_a_stream_without_a_descriptor() -> None:
    target = io.StringIO()
    stream = in_background(target)
    stream.write("one\n")
    drain(stream)
    assert target.getvalue() == "one\n"
    end(stream)
    for call in (drain, end):
        call(target)


@pytest.mark.parametrize("as_json", [False, True])
def test_secrets_are_hidden(as_json: bool) -> None:
    target = io.StringIO()
    stream = in_background(target, as_json=as_json)
    hide(stream, lambda text: text.replace("s3cret", "***"))
    hide(target, lambda text: "")
    stream.write("a s3cret b\n")
    end(stream)
    assert "a *** b" in target.getvalue()


def test_bytes_are_refused() -> None:
    stream = BackgroundStream(io.StringIO())
    with pytest.raises(TypeError):
        stream.write(b"one")  # type: ignore[arg-type]
    stream.end()


def test_nobody_reads_and_the_writer_goes_on() -> None:
    with full_pipe() as (reader, target):
        stream = BackgroundStream(target, patience=0)
        for number in range(LIMIT + 12):
            stream.write(f"{number}\n")
        stream.end()
        text = ""
        while "left out" not in text:
            text += os.read(reader, 1 << 16).decode().lstrip("x")
    *lines, note = text.splitlines()
    left_out = re.fullmatch(r"\((\d+) lines are left out here: they came faster than they were read\)", note)
    assert left_out is not None
    assert lines == [str(number) for number in range(len(lines))]
    assert len(lines) + int(left_out[1]) == LIMIT + 12


def test_a_stream_that_another_process_made_non_blocking() -> None:
    with full_pipe() as (reader, target):
        os.set_blocking(target.fileno(), False)
        stream = BackgroundStream(target, patience=60)
        stream.write("last\n")
        text = b""
        while not text.endswith(b"last\n"):
            text = os.read(reader, 1 << 16)
        stream.end()


def test_a_text_that_cannot_be_written_is_no_error() -> None:
    with Path("/dev/full").open("w") as target:
        stream = BackgroundStream(target)
        stream.write("one\n")
        stream.end()


def test_without_threads_it_writes_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    target = io.StringIO()
    stream = BackgroundStream(target)
    stream.write("one\n")
    stream.end()
    assert target.getvalue() == "one\n"
