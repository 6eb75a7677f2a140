import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.server.answers import byte_range

_places = st.integers(0, 1 << 45)


@given(_places, _places, st.integers(0, 1 << 45))
def test_what_is_asked_for_is_given_as_far_as_it_is_there(first: int, more: int, size: int) -> None:
    last = first + more
    for text, stop in ((f"bytes={first}-{last}", min(last + 1, size)), (f"Bytes= {first}- ", size)):
        if first < size:
            assert byte_range(text, size) == (first, stop)
        else:
            with pytest.raises(ValueError):
                byte_range(text, size)


@given(_places, st.integers(1, 1 << 45))
def test_a_number_alone_means_the_end(count: int, size: int) -> None:
    if count:
        assert byte_range(f"bytes=-{count}", size) == (max(0, size - count), size)
    else:
        with pytest.raises(ValueError):
            byte_range("bytes=-0", size)


@given(st.lists(st.sampled_from(["bytes", "=", "-", ",", " ", "0", "5", "9" * 25, "\u0663"]), max_size=8).map("".join))
def test_any_text_is_a_range_within_or_none(text: str) -> None:
    try:
        found = byte_range(text, 10)
    except ValueError:
        return
    assert found is None or 0 <= found[0] < found[1] <= 10
