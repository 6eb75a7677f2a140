"""Ranges: what a client asks for is what it gets, or all of it."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, strategies as st

from hangar_async.server.responses import byte_range, refusal

numbers = st.integers(0, 60) | st.integers(0, 1 << 60)


def sliced(data: bytes, text: str) -> bytes | None:
    """What a Range selects; None where nothing is in it."""
    try:
        found = byte_range(text, len(data))
    except ValueError:
        return None
    return data if found is None else data[found[0] : found[1]]


@given(st.binary(max_size=50), numbers, numbers)
def test_from_one_byte_to_another(data: bytes, first: int, last: int) -> None:
    expected: bytes | None = data[first : last + 1] or None
    if last < first:
        expected = data  # it makes no sense, and is passed over
    assert sliced(data, f"bytes={first}-{last}") == expected


@given(st.binary(max_size=50), numbers)
def test_from_one_byte_on(data: bytes, first: int) -> None:
    assert sliced(data, f"bytes={first}-") == (data[first:] or None)


@given(st.binary(max_size=50), numbers)
def test_the_last_bytes(data: bytes, count: int) -> None:
    assert sliced(data, f"bytes=-{count}") == ((data[-count:] if count else b"") or None)


@given(st.binary(max_size=50), st.lists(st.tuples(numbers, numbers), min_size=2, max_size=3))
def test_several_are_all_of_it(data: bytes, ranges: list[tuple[int, int]]) -> None:
    assert sliced(data, "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)) == data


def test_an_error_has_one_code() -> None:
    answer = refusal(404, "NAME_UNKNOWN", "no", {"name": "x"}, {"X": "1"})
    assert (answer.status, answer.content_type, answer.headers["X"]) == (404, "application/json", "1")
    assert answer.text is not None
    assert json.loads(answer.text) == {"errors": [{"code": "NAME_UNKNOWN", "message": "no", "detail": {"name": "x"}}]}


@pytest.mark.parametrize("text", ["", "bytes", "bytes=", "bytes=a-b", "items=0-1", "bytes=0--1", "bytes=1", "0-1"])
def test_what_is_no_range(text: str) -> None:
    assert byte_range(text, 10) is None


@given(st.lists(st.sampled_from(["bytes", "=", "-", ",", " ", "0", "5", "9" * 25, "\u0663"]), max_size=8).map("".join))
def test_any_text_is_a_range_within_or_none(text: str) -> None:
    try:
        found = byte_range(text, 10)
    except ValueError:
        return
    assert found is None or 0 <= found[0] < found[1] <= 10
