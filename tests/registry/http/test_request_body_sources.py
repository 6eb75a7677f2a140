from __future__ import annotations

import asyncio
import itertools
import random
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.registry.http.request_body import SourceBlob
from tests.registry.rig import Lent

DATA = random.Random(3).randbytes(10_000)


async def read(reader: SourceBlob, start: int, length: int, most: int | None = None) -> bytes:
    """Read a stretch, or its first pieces."""
    got = bytearray()
    pieces = reader.body(start, length).open()
    async for piece in pieces:
        got += piece
        if most is not None and len(got) >= most:
            break
    await pieces.aclose()  # type: ignore[attr-defined]
    return bytes(got)


@given(piece=st.integers(1, 12_000), cuts=st.lists(st.integers(0, len(DATA)), max_size=8))
def test_stretches_that_follow_each_other_open_it_once(piece: int, cuts: list[int]) -> None:
    async def run() -> None:
        lent = Lent(DATA, piece)
        reader = SourceBlob(lent, "it")
        edges = sorted({0, len(DATA), *cuts})
        parts = [await read(reader, start, stop - start) for start, stop in itertools.pairwise(edges)]
        assert b"".join(parts) == DATA
        assert lent.opened == [0]
        assert reader.furthest == len(DATA)
        await reader.aclose()
        await reader.aclose()
        assert lent.settled

    asyncio.run(run())


async def test_what_was_sent_is_read_again_by_opening_it_there() -> None:
    lent = Lent(DATA, 1000)
    reader = SourceBlob(lent, "it")
    assert await read(reader, 0, 2500) == DATA[:2500]
    assert await read(reader, 0, 2500) == DATA[:2500]
    assert await read(reader, 2500, 100) == DATA[2500:2600]
    assert await read(reader, 9000, 1000) == DATA[9000:]
    assert lent.opened == [0, 0, 9000]
    assert (lent.closed, reader.furthest) == (2, len(DATA))
    await reader.aclose()
    assert lent.settled


async def test_one_that_was_left_in_the_middle_is_opened_again() -> None:
    lent = Lent(DATA, 1000)
    reader = SourceBlob(lent, "it")
    assert await read(reader, 0, 5000, most=1500) == DATA[:2000]
    assert await read(reader, 1500, 1000) == DATA[1500:2500]
    assert lent.opened == [0, 1500]
    await reader.aclose()


async def test_one_that_was_interrupted_is_opened_again() -> None:
    never = asyncio.Event()
    lent = Lent(DATA, 1000, gate=never, gated=2)
    reader = SourceBlob(lent, "it")
    task = asyncio.ensure_future(read(reader, 0, 5000))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lent.gate = None
    assert await read(reader, 2000, 3000) == DATA[2000:5000]
    assert lent.opened == [0, 2000]
    await reader.aclose()
    assert lent.settled


async def test_one_that_ends_early_ends_the_stretch() -> None:
    reader = SourceBlob(Lent(DATA, 3000), "it")
    assert await read(reader, 9990, 100) == DATA[9990:]


async def test_an_iterator_that_cannot_be_closed() -> None:
    class Bare:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            return b"abc"

    reader = SourceBlob(lambda _: Bare(), "it")
    assert await read(reader, 0, 5) == b"abcab"
    assert await read(reader, 5, 2) == b"ca"
    await reader.aclose()
