"""Values of YAML and JSON know their place, and faults name it."""

from __future__ import annotations

import json
import tracemalloc
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from hangar_async.errors import UsageError
from hangar_async.jobfile.document import Node, parse_document, read_document
from tests.jobfile.rig import WHOLE


def parse(text: str, **environ: str) -> Node:
    return parse_document(text, "m.yaml", environ)


def test_values_are_those_of_yaml_1_2() -> None:
    node = parse("a: on\nb: no\nc: true\nd: 12\ne: 1.10\nf:\ng: '1.10'\nh: 2024-05-01\ni: [x, ~]\n<<: y\n")
    assert node.plain == {
        "a": "on",
        "b": "no",
        "c": True,
        "d": 12,
        "e": 1.1,
        "f": None,
        "g": "1.10",
        "h": "2024-05-01",
        "i": ["x", None],
        "<<": "y",
    }
    assert node.fields["e"].written == "1.10"
    assert str(node.fields["i"].items[0].place) == "m.yaml:9:5"
    assert str(node.keys["h"]) == "m.yaml:8:1"


def test_json_is_read_too() -> None:
    plain = parse(WHOLE).plain
    assert parse(json.dumps(plain, indent="\t")).plain == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "1:1: it is empty"),
        ("a: [1", "1:6: it is no YAML: expected ',' or ']'"),
        ("a: 1\n b: 2", "2:3: it is no YAML: mapping values are not allowed here"),
        ("a: *x", "1:4: it is no YAML: found undefined alias"),
        ("a: 1\n---\nb: 2", "2:1: it is no YAML"),
        ("a: \x01", "1:1: it is no YAML: unacceptable character"),
        ("a: !x y", "1:4: !x is no kind of value here"),
        ("a: !!python/object:os.system [x]", "1:4: .* is no kind of value here"),
        ("a: !!int x", "1:4: 'x' is no value: write it in quotes"),
        ("b: 1\na: 1\na: 2", "3:1: `a` stands here twice; the first one is in line 2"),
        ("[a]: 1", "1:1: a key is no word"),
        ("a: &a [*a]", " it is nested too deep"),
        ("x: &x " + str(list(range(500))) + "\ny: [" + "*x, " * 500 + "]", "the file has more than 100,000 values"),
    ],
)
def test_a_wrong_text_names_its_place(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^m.yaml:{message}" if message[0] in "123 " else message):
        parse(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("${HOST}/x", "reg.local/x"),
        ("${NONE:-other}", "other"),
        ("${EMPTY:-}", ""),
        ("${EMPTY}", ""),
        ("${HOST:?told}", "reg.local"),
        ("$${HOST} $HOST", "${HOST} $HOST"),
    ],
)
def test_variables(text: str, value: str) -> None:
    node = parse(f'a: "{text}"', HOST="reg.local", EMPTY="").fields["a"]
    assert node.value == value
    assert node.written == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("${NONE}", r"\$\{NONE\} is not set in the environment"),
        ("${EMPTY:?say which}", r"\$\{EMPTY\} is not set: say which"),
        ("${NONE:?}", r"\$\{NONE\} is not set: it is required"),
        ("a ${1}", r"`\$\{` begins a variable"),
        ("${HOST", r"`\$\{` begins a variable"),
    ],
)
def test_a_variable_without_a_value(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=f"^m.yaml:2:4: {message}"):
        parse(f'b: 1\na: "{text}"', EMPTY="")


def test_a_message_hides_the_values_of_variables() -> None:
    node = parse("a: x${TOKEN}${EMPTY}", TOKEN="s3cret", EMPTY="").fields["a"]
    with pytest.raises(UsageError, match=r"^m.yaml:1:4: 'x\$\{TOKEN\}' is wrong$"):
        node.refuse("'xs3cret' is wrong")


def test_a_message_is_a_line_of_printable_characters() -> None:
    with pytest.raises(UsageError) as caught:
        parse("a: 1").refuse("it is \x1b[31m\n" + "x" * 9_000)
    assert str(caught.value) == "m.yaml:1:1: it is \\x1b[31m " + "x" * 985 + " ..."


@pytest.mark.filterwarnings("error")
def test_a_second_anchor_of_one_name_is_no_warning() -> None:
    assert parse("a: &x 1\nb: &x 2\nc: *x").plain == {"a": 1, "b": 2, "c": 2}


def test_mappings_are_merged_field_by_field() -> None:
    defaults, job = parse("a: 1\nt: {x: 1, y: [2]}\nu: {z: 1}"), parse("t: {y: [3]}\nu: 5")
    assert job.over(defaults).plain == {"a": 1, "t": {"x": 1, "y": [3]}, "u": 5}
    assert job.over(None) is job


@pytest.mark.parametrize("value", ["1,", "[", "{", "- ", "? ", "a: ", "\n"])
def test_many_values_are_refused_before_they_are_decoded(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(YAML, "compose", None)
    with pytest.raises(UsageError, match=r"^m\.yaml: the file has more than 100,000 values"):
        parse(value * 100_001)


def test_many_values_are_counted_in_little_memory() -> None:
    text = "- " * 2_000_000
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="more than 100,000 values"):
            parse(text)
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"cannot read the job file .*none: No such file"):
        read_document(tmp_path / "none", {})
    (tmp_path / "latin").write_bytes(b"a: \xe4")
    with pytest.raises(UsageError, match="latin: it is not UTF-8"):
        read_document(tmp_path / "latin", {})
    with (tmp_path / "large").open("wb") as file:
        file.truncate(5 << 20)
    with pytest.raises(UsageError, match=r"cannot read the job file .*large: "):
        read_document(tmp_path / "large", {})
    (tmp_path / "marked").write_bytes(b"\xef\xbb\xbfa: 1")
    assert read_document(tmp_path / "marked", {}).plain == {"a": 1}
