from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, strategies as st

from hangar_async.cli.argv import GlobalFlags, Grammar, is_json, normalise, without_help_word
from hangar_async.errors import UsageError

SAVE = Grammar(
    {"--part": "--part", "-x": "--extra", "--extra": "--extra", "--secure": "--secure", "--no-secure": "--no-secure"},
    {"--secure": "--no-secure", "--no-secure": "--secure"},
    frozenset({"-f", "--file", "-j", "--jobs"}),
)
COMMANDS = {"save": SAVE}
TRUE = ["1", "t", "T", "true", "TRUE", "True"]
FALSE = ["0", "f", "F", "false", "FALSE", "False"]


def words(line: str) -> list[str]:
    return normalise(line.split(), COMMANDS)[1]


def flags(line: str) -> GlobalFlags:
    return normalise(line.split(), COMMANDS)[0]


@pytest.mark.parametrize(
    "line",
    ["--debug save -f a", "save --debug -f a", "save -f a --debug", "save -f a --debug=true", "--debug=1 save -f a"],
)
def test_global_flags_stand_before_or_after_the_command(line: str) -> None:
    assert normalise(line.split(), COMMANDS) == (GlobalFlags(debug=True), ["save", "-f", "a"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("save --secure", ["--secure"]),
        ("save --secure=false", ["--no-secure"]),
        ("save --no-secure", ["--no-secure"]),
        ("save --no-secure=0", ["--secure"]),
        ("save --secure=false --secure", ["--secure"]),
        ("save --secure --no-secure", ["--no-secure"]),
    ],
)
def test_a_flag_that_is_on_by_default_can_be_off(line: str, expected: list[str]) -> None:
    assert words(line) == ["save", *expected]


def test_each_global_flag() -> None:
    line = "--quiet save --debug --tls-verify=false"
    assert flags(line) == GlobalFlags(debug=True, quiet=True, tls_verify=False)
    assert flags("save") == GlobalFlags(debug=False, quiet=False, tls_verify=True, version=False)
    assert flags("--version").version


@pytest.mark.parametrize(
    "line", ["--log-format json save -f a", "save -f a --log-format=json", "save --log-format json -f a"]
)
def test_the_log_format_stands_before_or_after_the_command(line: str) -> None:
    assert normalise(line.split(), COMMANDS) == (GlobalFlags(log_format="json"), ["save", "-f", "a"])
    assert is_json(line.split())


@pytest.mark.parametrize(
    "line", ["save -f a", "--log-format text save", "save -- --log-format", "--log-format", "json", ""]
)
def test_without_it_lines_are_text(line: str) -> None:
    assert not is_json(line.split())


@pytest.mark.parametrize("line", ["save --log-format xml", "--log-format= save", "save --log-format"])
def test_another_log_format_is_refused(line: str) -> None:
    with pytest.raises(UsageError, match="is not a value of --log-format: write text or json"):
        normalise(line.split(), COMMANDS)


@pytest.mark.parametrize("value", TRUE)
def test_true(value: str) -> None:
    assert flags(f"--tls-verify={value} save").tls_verify
    assert words(f"save --part={value}") == ["save", "--part"]


@pytest.mark.parametrize("value", FALSE)
def test_false(value: str) -> None:
    assert not flags(f"--tls-verify={value} save").tls_verify
    assert words(f"save --part --part={value}") == ["save"]


@pytest.mark.parametrize("value", ["", "yes", "no", "on", "2", "tRUE", "true ", "--debug"])
def test_bad_boolean(value: str) -> None:
    for flag in ("--tls-verify", "--part", "--help"):
        with pytest.raises(UsageError, match=f"write {flag}=true or {flag}=false"):
            normalise(["save", f"{flag}={value}"], COMMANDS)


@pytest.mark.parametrize("line", ["--tls-verify false save", "save --tls-verify false", "save --part true"])
def test_a_boolean_without_its_equals_sign(line: str) -> None:
    with pytest.raises(UsageError, match="follows a '='"):
        words(line)


def test_the_last_of_several_counts() -> None:
    assert flags("--tls-verify=false save --tls-verify").tls_verify
    assert not flags("--tls-verify save --tls-verify=false").tls_verify
    assert words("save --part=false --part") == ["save", "--part"]


@pytest.mark.parametrize("option", ["-f", "--file", "-j"])
def test_a_value_is_never_taken_for_a_flag(option: str) -> None:
    line = ["save", option, "--debug", "--quiet"]
    assert normalise(line, COMMANDS) == (GlobalFlags(quiet=True), ["save", option, "--debug"])


def test_values_in_their_forms() -> None:
    assert words("save -fa -f=a -f a --file=a --file a -j4 -j=4") == (
        ["save", "-f", "a", "-f", "a", "-f", "a", "--file=a", "--file", "a", "-j", "4", "-j", "4"]
    )
    assert words("save -xj4 -xf a") == ["save", "--extra", "-j", "4", "-f", "a"]
    assert normalise(["save", "--file=--debug", "-f--debug"], COMMANDS) == (
        GlobalFlags(),
        ["save", "--file=--debug", "-f", "--debug"],
    )
    assert words("save -f -") == ["save", "-f", "-"]


def test_a_missing_value_is_left_to_typer() -> None:
    assert words("save --debug -f") == ["save", "-f"]
    assert words("save --file") == ["save", "--file"]


def test_two_dashes_end_the_options() -> None:
    assert normalise(["save", "--quiet", "--", "--debug", "-f"], COMMANDS) == (
        GlobalFlags(quiet=True),
        ["save", "--", "--debug", "-f"],
    )
    assert normalise(["--", "save", "--debug"], COMMANDS) == (GlobalFlags(), ["--", "save", "--debug"])


def test_a_value_that_is_two_dashes_ends_nothing() -> None:
    assert normalise(["save", "-f", "--", "--debug"], COMMANDS) == (GlobalFlags(debug=True), ["save", "-f", "--"])


def test_help() -> None:
    assert words("-h") == ["--help"]
    assert words("--help save") == ["--help", "save"]
    assert words("save -f a -h") == ["save", "--help", "-f", "a"]
    assert words("save --help=false") == ["save"]
    assert words("save -h=false") == ["save"]


def test_unknown_options_are_left_to_typer() -> None:
    assert words("save --nonsense=1 -z -xz") == ["save", "--extra", "--nonsense=1", "-z", "-z"]
    assert words("nonsense --debug -f --part") == ["nonsense", "-f", "--part"]
    assert words("") == []


@pytest.mark.parametrize("word", ["-x-part", "-x-file", "-xh-debug", "-x--", "-h-x"])
def test_the_rest_of_a_word_becomes_no_other_flag(word: str) -> None:
    assert normalise(["save", word], COMMANDS) == (GlobalFlags(), ["save", word])


def test_a_long_value_is_told_in_short() -> None:
    with pytest.raises(UsageError) as caught:
        normalise(["save", f"--part={'x' * 10_000}"], COMMANDS)
    assert len(str(caught.value)) < 300


ITEMS = st.one_of(
    st.sampled_from(["--part", "-x", "--nonsense", "word", "--debug", "--quiet=0", "--tls-verify=false", "-h", "-xj3"]),
    st.tuples(st.sampled_from(["-f", "--file", "-j"]), st.text(max_size=6)),
)


@given(st.lists(ITEMS, max_size=8))
def test_once_normalised_it_stays(items: list[str | tuple[str, str]]) -> None:
    line = ["save"]
    for item in items:
        line += [item] if isinstance(item, str) else item
    _, first = normalise(line, COMMANDS)
    assert normalise(first, COMMANDS) == (GlobalFlags(), first)


@given(st.lists(ITEMS, max_size=8))
def test_values_come_through_in_their_order(items: list[str | tuple[str, str]]) -> None:
    line = ["save"]
    for item in items:
        line += [item] if isinstance(item, str) else item
    _, found = normalise(line, COMMANDS)
    given_values = [item[1] for item in items if isinstance(item, tuple) and item[0] in ("-f", "--file")]
    taken = [
        found[place + 1] for place, word in enumerate(found) if word in ("-f", "--file") and _is_option(found, place)
    ]
    assert taken == given_values


def _is_option(found: list[str], place: int) -> bool:
    """Whether a word is no value itself: walk from the start, as getopt does."""
    at = 1
    while at < place:
        at += 2 if found[at] in SAVE.valued else 1
    return at == place


@given(
    st.lists(st.sampled_from(["--debug", "--quiet", "--tls-verify", "--debug=f", "--quiet=f", "--tls-verify=f"])),
    st.integers(0, 10),
)
def test_the_place_of_global_flags_changes_nothing(given_flags: list[str], place: int) -> None:
    rest = ["save", "-f", "a", "--part"]
    reference = normalise([*given_flags, *rest], COMMANDS)
    # Not between an option and its value.
    place = {2: 1}.get(place % 5, place % 5)
    assert normalise([*rest[:place], *given_flags, *rest[place:]], COMMANDS) == reference


@given(st.lists(st.text(max_size=8), max_size=8))
def test_any_words_end_in_words_or_a_usage_error(line: list[str]) -> None:
    with contextlib.suppress(UsageError):
        _, found = normalise(line, COMMANDS)
        # No word is made up: of what comes out, all but the names of flags stood in the line.
        assert all(word in "\n".join(line) or word.startswith("-") for word in found)


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("help", "--help"),
        ("help save", "save --help"),
        ("--debug help save -f x", "--debug save --help"),
        ("save -f help", "save -f help"),
        ("", ""),
    ],
)
def test_help_of_a_command_by_a_word(line: str, words: str) -> None:
    assert without_help_word(line.split()) == words.split()
