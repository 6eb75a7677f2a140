"""Transfers that share a rate are never faster, and wait no longer than that."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given, strategies as st

from hangar_async.engine.limits.rate import RateLimit
from tests.engine.limits.rig import Trial
from tests.fakes.clock import FakeClock


async def test_without_a_cap_nothing_waits() -> None:
    time = FakeClock()
    await RateLimit(None, time.clock).take(1 << 40)
    assert time.waits == []


@pytest.mark.parametrize("now", [-2_678_400.0, 0.0, 1e6])
async def test_the_moment_from_which_a_clock_counts_does_not_matter(now: float) -> None:
    time = FakeClock(now=now, wall=-2_678_400.0)
    await RateLimit(1000, time.clock).take(1)
    assert await Trial(time=time).run() == "done"
    assert time.waits == [pytest.approx(0.001)]


async def test_transfers_share_the_rate() -> None:
    time = FakeClock()
    limit = RateLimit(1000, time.clock)

    async def transfer() -> None:
        for _ in range(5):
            await limit.take(2000)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(transfer())
    assert 40.0 <= time.now - 1000.0 < 40.1


async def test_a_pause_gives_no_credit() -> None:
    time = FakeClock()
    limit = RateLimit(1000, time.clock)
    await limit.take(1000)
    time.now += 3600
    before = time.now
    await limit.take(5000)
    assert time.now - before == 5.0


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=20), st.integers(1, 1 << 30))
def test_never_faster_than_the_rate(pieces: list[int], rate: int) -> None:
    async def run() -> float:
        time = FakeClock(now=0.0)
        limit = RateLimit(rate, time.clock)
        for piece in pieces:
            await limit.take(piece)
        return time.now

    assert abs(asyncio.run(run()) - sum(pieces) / rate) < 1e-6 * (1 + sum(pieces) / rate)
