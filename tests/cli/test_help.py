from __future__ import annotations

import shlex
from typing import Any

import pytest
import typer

from hangar_async.cli.argv import normalise
from hangar_async.cli.help import EXAMPLES
from hangar_async.cli.main import COMMANDS, _grammars, make_app
from tests.cli.conftest import Program


def test_each_command_has_examples() -> None:
    assert set(EXAMPLES) == set(COMMANDS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_stand_in_the_help_and_can_be_parsed(program: Program, name: str) -> None:
    shown = program(name, "--help").out
    parsed: Any = typer.main.get_command(make_app([name]))
    for line in EXAMPLES[name]:
        assert f"\n  hangar-async {line}\n" in shown
        assert len(line) <= 90
        words = shlex.split(line.partition(" #")[0].partition(" ||")[0].partition(" >")[0].partition(" <")[0])
        _, words = normalise(words, _grammars(parsed))
        with parsed.commands[words[0]].make_context(words[0], words[1:]) as context:
            assert context.params


@pytest.mark.parametrize("width", [40, 51, 52, 80, 120])
@pytest.mark.parametrize("name", ["", "extract", "mirror", "save", "serve"])
def test_a_help_fits_the_terminal_and_breaks_no_word(
    program: Program, monkeypatch: pytest.MonkeyPatch, name: str, width: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    shown = program(*name.split(), "--help").out
    texts, _, examples = shown.partition("\nExamples:\n")
    assert max(map(len, texts.splitlines())) <= min(width, 80)
    assert not [line for line in texts.splitlines() if line.endswith("-") and not line.endswith(" -")]
    assert all(f"\n  hangar-async {line}\n" in f"\n{examples}" for line in EXAMPLES.get(name, ()))


@pytest.mark.parametrize(
    ("name", "usage"),
    [
        ("demo", "[OPTIONS] [DIRECTORY]"),
        ("extract", "[OPTIONS] ARCHIVE IMAGE..."),
        ("mirror", "[OPTIONS] [IMAGE]..."),
        ("save", "[OPTIONS]"),
    ],
)
def test_the_usage_names_the_arguments_once(program: Program, name: str, usage: str) -> None:
    shown = program(name, "--help").out
    assert shown.startswith(f"Usage: hangar-async {name} {usage}\n")
    for word in usage.split()[1:]:
        assert f"\n  {word.strip('[]') if word == '[DIRECTORY]' else word}  " in shown


def test_on_a_narrow_terminal_texts_stand_below_the_flags(program: Program, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    assert "\n  --part-size SIZE\n      Size of a part: bytes, or a\n" in program("save", "--help").out
