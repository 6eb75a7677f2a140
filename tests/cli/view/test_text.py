from __future__ import annotations

import io
import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import example, given, strategies as st

from hangar_async.cli.values import parse_size
from hangar_async.cli.view import text
from hangar_async.cli.view.text import command_text, quoted_path, write_rows, write_table
from hangar_async.errors import ContentError, StorageError

UNITS = {"B": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40, "PiB": 1 << 50}


@pytest.mark.parametrize(
    ("size", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        ((1 << 20) - 1, "1.0 MiB"),
        (2 << 30, "2.0 GiB"),
    ],
)
def test_size(size: int, shown: str) -> None:
    assert text.size_text(size) == shown


def test_standard_input_is_no_file_of_the_working_directory() -> None:
    assert text.source_text(Path("-"), absolute=True) == text.source_text(Path("-")) == "standard input"
    assert text.source_text(Path("a\nb")) == "a b"
    assert text.source_text(Path("/a"), absolute=True) == "/a"


@given(st.integers(0, 1 << 60))
def test_size_is_within_its_rounding(size: int) -> None:
    number, unit = text.size_text(size).split()
    assert abs(float(number) * UNITS[unit] - size) <= UNITS[unit] * 0.051
    assert float(number) < 1024 or unit in ("B", "PiB")


@given(st.integers(1, 10**15 - 1))
def test_flag_size_reads_back(size: int) -> None:
    assert parse_size(text.flag_size(size)) == size


def test_flag_size_is_short() -> None:
    assert [text.flag_size(size) for size in (2 << 30, 1536 << 20, 5000)] == ["2G", "1536M", "5000"]


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 00 s"),
        (187, "3 min 07 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_duration(seconds: float, shown: str) -> None:
    assert text.time_text(seconds) == shown


@given(st.floats(0, 1e7))
def test_duration_has_no_sixty(seconds: float) -> None:
    assert " 60 " not in text.time_text(seconds)


def test_clock() -> None:
    assert [text.clock_text(seconds) for seconds in (0.1, 83, 36_000)] == ["0:00:01", "0:01:23", "10:00:00"]


def test_counts() -> None:
    assert [text.count_text(number, "blob") for number in (0, 1, 1234)] == ["0 blobs", "1 blob", "1,234 blobs"]


@given(st.text())
def test_one_line_is_one_printable_line(hostile: str) -> None:
    assert text.one_line(hostile).isprintable()


def test_one_line() -> None:
    assert text.one_line(" a\n\tb\r\n") == "a b"
    assert text.one_line("\x1b[2Jgone \u202etxt.exe") == r"\x1b[2Jgone \u202etxt.exe"
    assert text.one_line("é ü 名") == "é ü 名"


def test_errors_come_with_their_advice() -> None:
    assert text.error_text(StorageError("cannot write a\nb", path="a", advice="make room")) == (
        "cannot write a b; make room"
    )
    assert text.error_text(ContentError("odd", advice="")) == "odd"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


ROWS = [("saved", "1 image"), ("", "and more"), ("failed", "[bold]x[/bold] " + "long " * 40)]


def test_in_a_file() -> None:
    stream = io.StringIO()
    write_rows(ROWS, stream)
    assert stream.getvalue() == "saved      1 image\n           and more\nfailed     " + ROWS[2][1] + "\n"


def test_on_a_terminal_labels_have_a_style_and_texts_are_folded_beside_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.delenv("NO_COLOR", raising=False)
    stream = Terminal()
    write_rows([*ROWS[:2], ("failed", "[bold]x[/bold] " + "long " * 8), ("", text.command_text(["x"] * 40))], stream)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "\x1b[1msaved      \x1b[0m1 image"
    assert lines[2:4] == [
        "\x1b[1;31mfailed     \x1b[0m[bold]x[/bold] long long long",
        " " * 11 + "long long long long long",
    ]
    # What is pasted stays one line, which the terminal folds by itself.
    assert lines[4] == f"\x1b[1m{'':11}\x1b[0m" + "x " * 39 + "x"


def test_a_digest_is_cut_where_it_is_no_name() -> None:
    whole = f"one@sha256:{'0' * 64} names sha256:{'1' * 64}, not sha256:{'2' * 64}"
    assert text.text_lines(whole, 80) == [f"one@sha256:{'0' * 64}", f"names sha256:{'1' * 12}…, not sha256:{'2' * 12}…"]
    assert text.text_lines(f"sha256:{'1' * 64}", 80) == [f"sha256:{'1' * 64}"]


def test_a_message_is_folded_on_a_terminal_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    message = "hangar-async: the list cannot be read"
    assert text.message_lines(message, io.StringIO()) == message
    assert text.message_lines(message, Terminal()) == "hangar-async: the list cannot\nbe read"


@given(st.text(max_size=60).map(text.one_line), st.integers(0, 40))
def test_folding_changes_nothing_but_spaces(line: str, width: int) -> None:
    lines = text.text_lines(line, width)
    assert " ".join(lines) == line
    assert all(len(one) <= width or " " not in one for one in lines) or width < 20
    assert text.text_lines(text.Pasted(line), width) == [line]


def test_a_closed_output_raises_nothing() -> None:
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


@given(st.lists(st.binary(max_size=12).map(lambda data: os.fsdecode(data.replace(b"\0", b"\n")))))
@example(["a  b", "a\nb", "it's", "\\", os.fsdecode(b"\xff'1"), "é", "\x1b[31m", ""])
def test_a_command_can_be_pasted(words: list[str]) -> None:
    command = command_text(["printf", "%s\\0", *words])
    assert command.isprintable()
    done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, check=True)
    # Without a word, printf writes its format once.
    assert done.stdout == b"".join(os.fsencode(word) + b"\0" for word in words or [""])


@pytest.mark.parametrize(
    ("path", "text"),
    [("a b", "'a b'"), ("-x.tar", "./-x.tar"), ("host:x.tar", "./host:x.tar"), ("/a:b", "/a:b"), ("a/b:c", "a/b:c")],
)
def test_a_path_is_no_flag_and_of_this_host(path: str, text: str) -> None:
    assert quoted_path(Path(path)) == text


def test_rows_on_a_full_disk_are_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    with Path("/dev/full").open("w") as full:
        write_rows([("a", "b")], full)
    assert capsys.readouterr().err == ("hangar-async: warning: cannot write standard output: No space left on device\n")


def test_tables_and_documents_on_a_full_disk_are_an_error() -> None:
    with Path("/dev/full").open("w") as full, pytest.raises(StorageError, match="cannot write standard output: No"):
        text.write_document("{}", full)
    with Path("/dev/full").open("w") as full, pytest.raises(StorageError, match="cannot write standard output: No"):
        write_rows([("a", "b")], full, is_work=True)
    with Path("/dev/full").open("w") as full, pytest.raises(StorageError, match="cannot write standard output: No"):
        write_table(("A",), [("b",)], full)


@pytest.mark.parametrize(
    ("width", "shown"), [(20, "registry.io/app:v1.2"), (12, "reg…app:v1.2"), (3, "….2"), (1, "…"), (0, "")]
)
def test_a_name_is_cut_in_the_middle(width: int, shown: str) -> None:
    assert text.cut_in_the_middle("registry.io/app:v1.2", width) == shown


@pytest.mark.parametrize("width", [30, 40, 60, 80, 120, 200])
def test_a_table_on_a_terminal_loses_nothing(monkeypatch: pytest.MonkeyPatch, width: int) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    rows = [
        (
            "registry.example.com:5000/team/a-rather-long-name/application:v1.2.3",
            "sha256:0123456789ab",
            "120.4 MiB",
            "linux/amd64, linux/arm64/v8, windows/amd64 (10.0.17763.1234)",
        ),
        ("one:1", "-", "1 B", ""),
    ]
    terminal = Terminal()
    write_table(["IMAGE", "DIGEST", "SIZE", "PLATFORMS"], rows, terminal)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    letters = sorted("".join(lines).replace(" ", "").removeprefix("IMAGEDIGESTSIZEPLATFORMS"))
    assert letters == sorted("".join(map("".join, rows)).replace(" ", ""))
    # Where the terminal is too narrow for columns, it wraps a name itself.
    assert max(map(len, (line for line in lines if width >= 80 or line.startswith(" ")))) <= width


def test_a_name_is_folded_behind_a_slash_or_colon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    terminal = Terminal()
    name = "registry.example.com/team/application:v1.2.3"
    write_table(["IMAGE", "SIZE", "PLATFORMS"], [(name, "1 B", "windows/amd64 (10.0.17763.1234)")], terminal)
    lines = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue()).splitlines()
    assert lines == [
        "IMAGE                               SIZE  PLATFORMS",
        "registry.example.com/team/          1 B   windows/amd64",
        "application:v1.2.3                        (10.0.17763.1234)",
    ]
