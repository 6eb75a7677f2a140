"""Memory for pieces: a bounded sum, used again."""

from __future__ import annotations

from hypothesis import given, strategies as st

from hangar_async.buffers import SIZES, PieceBuffers

MIB = 1 << 20


def test_many_transfers_get_small_buffers_and_few_get_large_ones() -> None:
    buffers = PieceBuffers()
    lent = [buffers.take() for _ in range(120)]
    assert [len(buffer) for buffer in lent] == [SIZES[0]] * 16 + [SIZES[1]] * 16 + [SIZES[2]] * 88
    assert sum(map(len, lent)) == 23 * MIB
    for buffer in lent:
        buffers.give(buffer)
    again = [buffers.take() for _ in range(120)]
    assert {id(buffer) for buffer in again} == {id(buffer) for buffer in lent}


@given(st.lists(st.integers(0, 30), max_size=200))
def test_no_buffer_is_lent_twice(steps: list[int]) -> None:
    buffers, lent = PieceBuffers(), list[bytearray]()
    for step in steps:
        if step < len(lent):
            buffers.give(lent.pop(step))
        else:
            lent.append(buffers.take())
        assert len({id(buffer) for buffer in lent}) == len(lent)
        for size in SIZES[:-1]:
            assert sum(len(buffer) == size for buffer in lent) <= 16
