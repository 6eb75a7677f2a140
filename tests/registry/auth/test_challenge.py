from __future__ import annotations

import string

import pytest
from hypothesis import given, strategies as st

from hangar_async.registry.auth.challenge import Challenge, parse_challenges

_words = st.text(string.ascii_letters + string.digits + "-_.~!#$%&'*+^`|", min_size=1)
_values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=40)
_parameters = st.dictionaries(_words.map(str.lower), _values, max_size=4)
_challenges = st.lists(st.tuples(_words.map(str.lower), _parameters), max_size=4)


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="reg"', [("basic", {"realm": "reg"})]),
        (
            'Bearer realm="https://a/token",service="reg.io",scope="repository:a/b:pull,push"',
            [("bearer", {"realm": "https://a/token", "service": "reg.io", "scope": "repository:a/b:pull,push"})],
        ),
        ('BEARER Realm=plain , service = "s"', [("bearer", {"realm": "plain", "service": "s"})]),
        ("Basic", [("basic", {})]),
        ("", []),
        ('Negotiate a+b/c==, Basic realm="x"', [("negotiate", {}), ("basic", {"realm": "x"})]),
        ('Bearer realm="a", Basic realm="b, c"', [("bearer", {"realm": "a"}), ("basic", {"realm": "b, c"})]),
        (r'Basic realm="a\"b"', [("basic", {"realm": 'a"b'})]),
        ('Bearer realm="first",realm="second"', [("bearer", {"realm": "first"})]),
        ('Bearer realm="never closed', [("bearer", {}), ("closed", {})]),
    ],
)
def test_challenges_of_real_servers(header: str, expected: list[tuple[str, dict[str, str]]]) -> None:
    found = [(challenge.scheme, dict(challenge.parameters)) for challenge in parse_challenges([header])]
    assert found == expected


def test_several_headers_are_one_list() -> None:
    found = parse_challenges(['Bearer realm="r",service="s"', "Basic"])
    assert found == (Challenge("bearer", {"realm": "r", "service": "s"}), Challenge("basic"))
    assert (found[0].realm, found[0].service, found[1].realm) == ("r", "s", "")


@given(_challenges)
def test_what_is_written_is_read(challenges: list[tuple[str, dict[str, str]]]) -> None:
    header = ", ".join(
        f"{scheme} " + ", ".join(f"{name}={_quoted(value)}" for name, value in parameters.items())
        for scheme, parameters in challenges
    )
    assert [(found.scheme, dict(found.parameters)) for found in parse_challenges([header])] == challenges


@given(st.text(max_size=300))
def test_any_text_is_read_to_its_end(text: str) -> None:
    for challenge in parse_challenges([text]):
        assert challenge.scheme


def test_a_header_of_open_quotes_takes_no_long_time() -> None:
    assert len(parse_challenges(['a="' * 100_000])) == 0
