from __future__ import annotations

import re

import pytest

from hangar_async.cli.main import COMMANDS
from hangar_async.cli.suggestions import _OTHERS, unknown_command, unknown_flag


def test_a_typing_error_has_the_command_that_is_meant() -> None:
    assert unknown_command("mirrr", COMMANDS) == "no such command 'mirrr'. Did you mean mirror?"
    assert unknown_command("qqq", COMMANDS) == "no such command 'qqq'"


@pytest.mark.parametrize("word", _OTHERS)
def test_a_command_of_another_tool_has_the_one_that_does_it_here(word: str) -> None:
    assert word not in COMMANDS
    assert unknown_command(word, COMMANDS) == f"no such command {word!r}: {_OTHERS[word]}"
    for named in re.findall(r"'([a-z-]+)[ ']", _OTHERS[word]):
        assert named in COMMANDS or named == "--version", named


def test_a_typing_error_in_a_flag_has_the_flag_that_is_meant() -> None:
    assert unknown_flag("--quite", ["--quiet", "--file"]) == "no such option: --quite. Did you mean --quiet or --file?"
    assert unknown_flag("--zzzz", ["--quiet"]) == "no such option: --zzzz"
