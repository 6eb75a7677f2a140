from __future__ import annotations

import io
import os

import pytest

from hangar_async.cli.view.page import write_rows, write_table

ROWS = [("saved", "1 image"), ("", "and more"), ("failed", "[bold]x[/bold] " + "long " * 40)]


def test_in_a_file() -> None:
    stream = io.StringIO()
    write_rows(ROWS, stream)
    assert stream.getvalue() == "saved      1 image\n           and more\nfailed     " + ROWS[2][1] + "\n"


def test_on_a_terminal_only_labels_have_a_style_and_nothing_is_wrapped(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    write_rows(ROWS, stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "\x1b[1msaved      \x1b[0m1 image"
    assert lines[2] == "\x1b[1;31mfailed     \x1b[0m" + ROWS[2][1]


def test_nobody_reads() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        write_rows([("a", "b" * 100_000)], stream)
        write_rows([("a", "b")], stream)


def test_a_table_has_aligned_columns() -> None:
    stream = io.StringIO()
    write_table(["ONE", "TWO"], [["a", "b c"], ["longer", ""]], stream)
    assert stream.getvalue() == "ONE     TWO\na       b c\nlonger\n"


def test_a_table_without_rows_has_its_heads() -> None:
    stream = io.StringIO()
    write_table(["ONE", "TWO"], [], stream)
    assert stream.getvalue() == "ONE  TWO\n"


def test_a_table_that_nobody_reads_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as stream:
        write_table(["ONE"], [["a" * 100_000]], stream)
