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
