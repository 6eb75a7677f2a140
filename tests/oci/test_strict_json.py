import json
import tracemalloc
from typing import Any

import msgspec
import pytest
from hypothesis import given, strategies as st

from hangar_async.oci.strict_json import MOST_VALUES, decode
from tests.refusal import attempt


class Kind(msgspec.Struct):
    word: str = ""
    words: list[str] | None = None
    raw: list[msgspec.Raw] | None = None


def test_a_document_is_read_and_other_fields_are_passed_over() -> None:
    assert decode(b'{"word":"a","words":["b"],"other":{"deep":[1]}}', Kind) == Kind("a", ["b"])
    assert decode(bytearray(b'{"word":"a"}'), Kind) == Kind("a")


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (b"", "truncated"), (b"{", "truncated"), (b"[]", "Expected `object`"), (b'{"word":1}', r"`str`.*\.word"),
        (b"\xff\xfe", "malformed"), (b'{"word":"\xff"}', "utf-8|UTF-8"), (b'{"word":"\\ud800"}', "truncated"),
        (b'{"other":' + b"[" * 100_000, "nested too deep"), (b'{"raw":' + b"[" * 100_000, "nested too deep|malformed"),
        (b'{"words":[' + b'"",' * MOST_VALUES + b'""]}', "more than 524,288 values"),
    ],
)  # fmt: skip
def test_what_is_no_such_document(raw: bytes, why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        decode(raw, Kind)
    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


@given(st.binary(max_size=200) | st.recursive(st.none() | st.text() | st.integers() | st.floats(allow_nan=False),
       lambda below: st.lists(below) | st.dictionaries(st.sampled_from(["word", "words", "raw"]) | st.text(), below))
       .map(lambda value: json.dumps(value).encode("utf-8", "surrogatepass")))  # fmt: skip
def test_anything_is_read_or_refused_in_one_line(raw: bytes) -> None:
    assert isinstance(attempt(lambda: decode(raw, Kind), ValueError), Kind | None)


@pytest.mark.parametrize("value", [b"0,", b'"",', b"[],", b"{},", b'"word",'])
@pytest.mark.parametrize("field", ["raw", "words", "other"])
def test_many_small_values_take_little_memory(value: bytes, field: str) -> None:
    """They compress to nothing, so that a file of a few KiB has millions of them."""
    raw = b'{"%s":[' % field.encode() + value * ((16 << 20) // len(value)) + b"0]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than"):
            decode(raw, Kind)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1 << 20


def test_a_document_may_be_allowed_fewer_or_more_values() -> None:
    raw: Any = json.dumps({"words": ["a"] * 100}).encode()
    assert len(decode(raw, Kind, 100).words or ()) == 100
    with pytest.raises(ValueError, match="more than 99 values"):
        decode(raw, Kind, 99)
