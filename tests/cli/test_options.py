"""The options of all commands: one form, and help that is one plain sentence."""

import re
from typing import Any, get_args

import pytest
from typer.models import ArgumentInfo, OptionInfo

from hangar_async.cli import convert_options, job_options, options, repo_options, report_options, serve_options

ALL: dict[str, Any] = {
    name: info
    for module in (options, convert_options, job_options, repo_options, report_options, serve_options)
    for name, value in vars(module).items()
    for info in get_args(value)
    if isinstance(info, ArgumentInfo | OptionInfo)
}


def test_the_options_are_found() -> None:
    assert {"ImageListFile", "Archive", "HarborHttps"} <= ALL.keys()
    assert len(ALL) > 40


@pytest.mark.parametrize("name", ALL)
def test_the_help_is_a_plain_sentence(name: str) -> None:
    text = ALL[name].help
    assert text is not None
    sentence = text.partition("  [default")[0]
    assert sentence == sentence.strip()
    assert sentence.endswith((".", ":5000")), sentence
    assert not re.match(r"(What|Who|Where|Whoever|Whether)\b", sentence), sentence


@pytest.mark.parametrize("name", ALL)
def test_an_option_with_a_value_names_it_in_capitals(name: str) -> None:
    info = ALL[name]
    if info.metavar is not None:
        assert info.metavar == info.metavar.upper()
