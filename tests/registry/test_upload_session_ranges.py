from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.registry.blobs import is_rest
from hangar_async.registry.upload_session import received_bytes

_numbers = st.integers(0, 1 << 50)


@given(first=_numbers, more=_numbers, beyond=_numbers, known=st.booleans())
def test_what_is_written_is_read(first: int, more: int, beyond: int, known: bool) -> None:
    last, total = first + more, first + more + 1 + beyond
    text = f"bytes {first}-{last}/{total if known else '*'}"
    assert is_rest(text, first, last + 1) is (not known or beyond == 0)
    assert not is_rest(text, first + 1, last + 1)
    assert not is_rest(text, first, last + 2)


@pytest.mark.parametrize(
    "text",
    ["", "bytes", "bytes 5-4/10", "bytes 0-10/10", "bytes */10", "bits 0-1/2", "bytes 0-1", "bytes 0-1/2/3",
     "bytes ٣-4/5", "bytes -1-3/5", "bytes 0-9/10, bytes 0-9/10"],
)  # fmt: skip
def test_what_cannot_be_a_range(text: str) -> None:
    assert not any(is_rest(text, start, size) for start in range(12) for size in range(12))


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert is_rest(text, 0, 1) in (False, True)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0-1", 2), ("0-999", 1000), (" 0-5 ", 6), ("bytes=0-9", 10), ("bytes 0-9", 10), (f"0-{10**18}", 10**18 + 1)],
)
def test_what_a_registry_has_of_an_upload(text: str, count: int) -> None:
    assert received_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0-0", "1-5", "0-", "-5", "0", "0-x", "0-5/10", "0-٣", "0--1", f"0-{10**30}"])
def test_what_says_nothing_of_an_upload(text: str) -> None:
    assert received_bytes(text) is None


@given(st.text())
def test_any_text_says_how_much_or_nothing(text: str) -> None:
    found = received_bytes(text)
    assert found is None or found > 1
