from __future__ import annotations

import io
import sys

import pytest

from hangar_async.cli.view.lines import line_of
from hangar_async.cli.view.live import LiveView
from hangar_async.cli.view.plain import PlainView
from hangar_async.cli.view.watch import open_view
from hangar_async.engine.events import ArchiveProgress, BlobProgress, RunStarted
from tests.cli.samples import digest


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_lines_in_a_pipe(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    with open_view() as view:
        assert isinstance(view, PlainView)
        view(RunStarted(1, 1))
    view(RunStarted(1, 1))
    assert stream.getvalue().count("\n") == 1


def test_live_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", "xterm-256color")
    with open_view() as view:
        assert isinstance(view, LiveView)


@pytest.mark.parametrize(("term", "quiet"), [("dumb", False), ("xterm-256color", True)])
def test_lines_on_a_dumb_terminal_and_when_quiet(monkeypatch: pytest.MonkeyPatch, term: str, quiet: bool) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    monkeypatch.setenv("TERM", term)
    with open_view(quiet) as view:
        assert isinstance(view, PlainView)


def test_what_comes_too_often_has_no_line() -> None:
    assert line_of(BlobProgress(digest(1), 1, 1)) is None
    assert line_of(ArchiveProgress(1, 0)) is None
