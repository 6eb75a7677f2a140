"""Sets of many names."""

import sys

from hypothesis import given, strategies as st

from hangar_async.packed import PackedNames, Recent

_MANY = 20_000


@given(st.lists(st.text()))
def test_is_a_set(names: list[str]) -> None:
    packed, plain = PackedNames(), set[str]()
    for name in names:
        assert packed.add(name) == (name not in plain)
        plain.add(name)
    assert len(packed) == len(plain)
    assert all(name in packed for name in plain)


def test_tells_many_names_apart() -> None:
    packed = PackedNames(f"name {number}" for number in range(_MANY))
    assert len(packed) == _MANY
    assert not any(packed.add(f"name {number}") for number in range(_MANY))
    assert all(f"name {number}" in packed for number in range(_MANY))
    assert not any(f"other {number}" in packed for number in range(_MANY))


def test_a_map_keeps_what_was_set_last() -> None:
    recent = Recent[str, int](2)
    for number, name in enumerate("abca"):
        recent[name] = number
    assert recent == {"c": 2, "a": 3}


def test_takes_few_bytes_a_name() -> None:
    packed = PackedNames(f"name {number}" for number in range(_MANY))
    assert sys.getsizeof(packed._words) < 50 * _MANY
