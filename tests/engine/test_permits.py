import asyncio
from contextlib import AsyncExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.engine.permits import Lane, Permits, Turn


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_the_lowest_rank_goes_first() -> None:
    permits = Permits(1)
    lane = permits.lane()
    order: list[int] = []

    async def work(turn: Turn) -> None:
        async with permits.hold(turn, lane):
            order.append(turn.rank[0])

    async with asyncio.TaskGroup() as group, permits.hold(Turn((0,)), lane):
        for rank in (5, 3, 4, 1, 2):
            group.create_task(work(Turn((rank,))))
        await _settle()
        assert repr(permits) == "<Permits 1 of 1 held, 5 queued>"
    assert order == [1, 2, 3, 4, 5]
    assert repr(permits) == "<Permits 0 of 1 held, 0 queued>"


async def test_a_rank_is_raised_while_it_waits() -> None:
    permits = Permits(1)
    lane = permits.lane()
    order: list[str] = []

    async def work(name: str, turn: Turn) -> None:
        async with permits.hold(turn, lane):
            order.append(name)

    late, middle = Turn((9,)), Turn((5,))
    async with asyncio.TaskGroup() as group, permits.hold(Turn((0,)), lane):
        group.create_task(work("middle", middle))
        group.create_task(work("late", late))
        await _settle()
        permits.raise_rank(late, (1,))
        permits.raise_rank(middle, (7,))  # a later rank changes nothing
    assert order == ["late", "middle"]
    assert middle.rank == (5,)


async def test_a_cancelled_waiter_gives_its_place_away() -> None:
    permits = Permits(1)
    lane = permits.lane()
    got: list[str] = []

    async def work(name: str, turn: Turn) -> None:
        async with permits.hold(turn, lane):
            got.append(name)

    async with permits.hold(Turn((0,)), lane):
        first = asyncio.create_task(work("first", Turn((1,))))
        second = asyncio.create_task(work("second", Turn((2,))))
        await _settle()
        first.cancel()
        await _settle()
    await second
    assert got == ["second"]
    assert "0 of 1 held" in repr(permits)


async def test_a_permit_granted_to_a_task_that_is_cancelled_at_that_moment_is_not_lost() -> None:
    permits = Permits(1)
    lane = permits.lane()

    async def work() -> None:
        async with permits.hold(Turn((1,)), lane):
            pytest.fail("it was cancelled")

    async with permits.hold(Turn((0,)), lane):
        waiting = asyncio.create_task(work())
        await _settle()
    waiting.cancel()  # the permit is granted, the task has not run yet
    with pytest.raises(asyncio.CancelledError):
        await waiting
    async with asyncio.timeout(5), permits.hold(Turn((2,)), lane):
        assert "1 of 1 held" in repr(permits)


async def test_a_lane_that_is_full_lets_others_by() -> None:
    permits = Permits(4)
    narrow, wide = permits.lane(), permits.lane()
    narrow.limit = 1.9
    order: list[str] = []
    go_on = asyncio.Event()

    async def work(name: str, turn: Turn, lane: Lane) -> None:
        async with permits.hold(turn, lane):
            order.append(name)
            await go_on.wait()

    async with asyncio.TaskGroup() as group:
        for number in range(3):
            group.create_task(work(f"narrow {number}", Turn((number,)), narrow))
        for number in range(4):
            group.create_task(work(f"wide {number}", Turn((10 + number,)), wide))
        await _settle()
        assert order == ["narrow 0", "wide 0", "wide 1", "wide 2"]
        narrow.limit = 4
        permits.grant()
        await _settle()
        assert len(order) == 4  # no permit is free
        go_on.set()
    assert order[4:] == ["narrow 1", "narrow 2", "wide 3"]


async def test_a_lane_is_never_shut() -> None:
    permits = Permits(2)
    lane = permits.lane()
    lane.limit = 0.1
    async with asyncio.timeout(5), permits.hold(Turn((0,)), lane):
        assert not lane.has_room


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.booleans()), max_size=25), st.integers(1, 4))
def test_never_more_than_there_are_and_none_lost(jobs: list[tuple[int, int, bool]], count: int) -> None:
    async def run() -> None:
        permits = Permits(count)
        lane = permits.lane()
        held = peak = 0

        async def work(rank: int, steps: int) -> None:
            nonlocal held, peak
            async with permits.hold(Turn((rank,)), lane):
                held += 1
                peak = max(peak, held)
                try:
                    for _ in range(steps):
                        await asyncio.sleep(0)
                finally:
                    held -= 1

        tasks = [asyncio.create_task(work(rank, steps)) for rank, steps, _ in jobs]
        await asyncio.sleep(0)
        for task, (_, _, cancelled) in zip(tasks, jobs, strict=True):
            if cancelled:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        assert peak <= count
        assert held == 0
        assert f"0 of {count} held" in repr(permits)

    asyncio.run(run())


async def test_one_of_several_permits_plans_ahead() -> None:
    permits = Permits(3)
    lane = permits.lane()
    order: list[str] = []

    async def work(name: str, turn: Turn) -> None:
        async with permits.hold(turn, lane):
            order.append(name)
            await asyncio.sleep(0)

    async with asyncio.TaskGroup() as group, AsyncExitStack() as stack:
        for _ in range(3):
            await stack.enter_async_context(permits.hold(Turn((0,)), lane))
        for number in range(4):
            group.create_task(work(f"blob {number}", Turn((number, 1))))
            group.create_task(work(f"plan {number}", Turn((10 + number, 0), ahead=True)))
        await _settle()
    assert order[:3] == ["plan 0", "blob 0", "blob 1"]
    assert [name for name in order if name.startswith("plan")] == [f"plan {number}" for number in range(4)]
    assert order.index("plan 1") < order.index("blob 3")


async def test_a_single_permit_goes_strictly_by_rank() -> None:
    permits = Permits(1)
    lane = permits.lane()
    order: list[int] = []

    async def work(turn: Turn) -> None:
        async with permits.hold(turn, lane):
            order.append(turn.rank[0])

    async with asyncio.TaskGroup() as group, permits.hold(Turn((0,)), lane):
        for rank in (3, 1, 4, 2):
            group.create_task(work(Turn((rank,), ahead=rank > 2)))
        await _settle()
    assert order == [1, 2, 3, 4]
