"""Values that a file reads are hidden, and no others."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from hangar_async.config.variables import NotedVariables, shown_values


def test_values_that_were_read_are_hidden() -> None:
    variables = NotedVariables(
        {"HOOK": "https://h.io/s3cret", "PATH": "/usr/bin", "N": "7", "ODD": 'a"\\ä/x', "IN": "h.io"}
    )
    assert (len(variables), set(variables)) == (5, {"HOOK", "PATH", "N", "ODD", "IN"})
    text = 'POST https://h.io/s3cret of /usr/bin at h.io, 7 of "'
    assert variables.hide(text) == text
    assert variables.get("MISSING") is None
    assert dict(variables.unread)
    assert variables.hide(text) == text
    for name in ("IN", "HOOK", "N", "ODD"):
        assert variables[name]
    # The longer value goes first, and one of a few letters is in too many words.
    assert variables.hide(text) == 'POST ${HOOK} of /usr/bin at ${IN}, 7 of "'
    assert variables.hide(json.dumps({"text": 'a"\\ä/x'})) == '{"text": "${ODD}"}'


@pytest.mark.parametrize(
    ("value", "text", "expected"),
    [
        ("reg.lan:5000/team", "reg.lan:5000/team/app", "${V}/app"),
        ("reg.lan:5000/team", "reg.lan:5000 gives no answer", "${V%%/*} gives no answer"),
        ("reg.lan:5000/team", "no address for reg.lan", "no address for ${V%%:*}"),
        ("reg.lan:5000", "no address for reg.lan", "no address for ${V%%:*}"),
        ("reg.lan/team", "reg.lan/other", "${V%%/*}/other"),
        ("127.0.0.1:5000", "127.0.0.1:6000", "127.0.0.1:6000"),
        ("127.0.0.1:5000/x", "127.0.0.1:5000/y", "${V%%/*}/y"),
        ("team/app", "team/other", "team/other"),
        ("https://hook.lan/x", "hook.lan", "hook.lan"),
    ],
)
def test_the_host_of_an_address_is_hidden_too_and_comes_back(value: str, text: str, expected: str) -> None:
    variables = NotedVariables({"V": value})
    assert variables["V"] == value
    assert variables.hide(text) == expected
    assert shown_values(expected, variables) == text


def test_what_is_no_variable_stays() -> None:
    assert shown_values("$V ${W} ${V!} ${V%%-*} {V}", {"V": "x"}) == "$V ${W} ${V!} ${V%%-*} {V}"


@given(st.dictionaries(st.sampled_from(["AAAA", "BBBB"]), st.text("aB.:/1", min_size=4)), st.text("aB.:/1"))
def test_all_that_is_hidden_comes_back(values: dict[str, str], text: str) -> None:
    variables = NotedVariables(values)
    for name in variables:
        assert variables[name]
    text += "".join(values.values())
    assert shown_values(variables.hide(text), variables) == text
