from __future__ import annotations

import asyncio
import traceback

import pytest

from hangar_async.errors import NetworkError
from hangar_async.singleflight import SingleFlight


class Work:
    """Counts its starts, and waits to be let go."""

    def __init__(self) -> None:
        self.starts = 0
        self.cancelled = False
        self.started = asyncio.Event()
        self.go = asyncio.Event()

    async def __call__(self) -> int:
        self.starts += 1
        self.started.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            raise
        return self.starts


async def test_many_wait_for_one() -> None:
    work = Work()
    async with SingleFlight() as flights, asyncio.TaskGroup() as group:
        tasks = [group.create_task(flights.join("key", work)) for _ in range(20)]
        await work.started.wait()
        work.go.set()
    assert [task.result() for task in tasks] == [1] * 20


async def test_other_keys_fly_by_themselves_and_ended_flights_start_again() -> None:
    work = Work()
    work.go.set()
    async with SingleFlight() as flights:
        assert list(await asyncio.gather(flights.join("a", work), flights.join("b", work))) == [1, 2]
        assert await flights.join("a", work) == 3


async def test_a_cancelled_waiter_takes_no_other_with_it() -> None:
    work = Work()
    async with SingleFlight() as flights, asyncio.TaskGroup() as group:
        first, second = (group.create_task(flights.join("key", work)) for _ in range(2))
        await work.started.wait()
        first.cancel()
        await asyncio.wait([first])
        assert first.cancelled()
        work.go.set()
    assert second.result() == 1


async def test_work_that_nobody_waits_for_ends() -> None:
    work = Work()
    async with SingleFlight() as flights:
        task = asyncio.ensure_future(flights.join("key", work))
        await work.started.wait()
        task.cancel()
        await asyncio.wait([task])
        again = Work()
        again.go.set()
        assert await flights.join("key", again) == 1
    assert work.cancelled


async def test_a_failure_is_everyones_and_ends_nothing_else() -> None:
    release = asyncio.Event()

    async def fail() -> None:
        await release.wait()
        raise LookupError("gone")

    async with SingleFlight() as flights:
        tasks = [asyncio.ensure_future(flights.join("key", fail)) for _ in range(3)]
        await asyncio.sleep(0)
        release.set()
        await asyncio.wait(tasks)
        assert [type(task.exception()) for task in tasks] == [LookupError] * 3
        work = Work()
        work.go.set()
        assert await flights.join("key", work) == 1


async def test_an_error_in_the_block_is_raised_unchanged() -> None:
    work = Work()
    with pytest.raises(LookupError):
        async with SingleFlight() as flights:
            task = asyncio.ensure_future(flights.join("key", work))
            await work.started.wait()
            raise LookupError
    await asyncio.wait([task])
    assert work.cancelled
    assert task.cancelled()


class SlowToEnd:
    """Work without an end of its own; a cancellation ends it only after `dying` is set."""

    def __init__(self) -> None:
        self.started, self.dying, self.ended = asyncio.Event(), asyncio.Event(), False

    async def __call__(self) -> None:
        self.started.set()
        try:
            await asyncio.Event().wait()
        finally:
            await self.dying.wait()
            self.ended = True


async def test_the_next_work_starts_after_the_end_of_a_cancelled_one() -> None:
    work = SlowToEnd()

    async def again() -> bool:
        return work.ended

    async with SingleFlight() as flights, asyncio.TaskGroup() as group:
        first = group.create_task(flights.join("key", work))
        await work.started.wait()
        first.cancel()
        await asyncio.wait([first])
        second = group.create_task(flights.join("key", again))
        await asyncio.sleep(0)
        assert "key" in flights
        work.dying.set()
    assert second.result()
    assert "key" not in flights


async def test_clean_up_of_work_that_is_abandoned_is_not_cut_short() -> None:
    started = asyncio.Event()
    clean = False

    async def work() -> None:
        nonlocal clean
        started.set()
        try:
            await asyncio.Event().wait()
        finally:
            for _ in range(5):
                await asyncio.sleep(0)
            clean = True

    async with SingleFlight() as flights:
        task = asyncio.ensure_future(flights.join("key", work))
        await started.wait()
        task.cancel()
        await asyncio.wait([task])
    assert clean


async def test_each_waiter_gets_an_error_of_its_own() -> None:
    go = asyncio.Event()

    async def work() -> None:
        await go.wait()
        raise NetworkError("cut", host="h", gained=7)

    async def wait(flights: SingleFlight) -> NetworkError:
        with pytest.raises(NetworkError) as caught:
            await flights.join("key", work)
        return caught.value

    async with SingleFlight() as flights, asyncio.TaskGroup() as group:
        tasks = [group.create_task(wait(flights)) for _ in range(100)]
        await asyncio.sleep(0)
        go.set()
    errors = [task.result() for task in tasks]
    assert len(set(map(id, errors))) == 100
    assert {(str(error), error.host, error.gained) for error in errors} == {("cut", "h", 7)}
    assert max(sum(1 for _ in traceback.walk_tb(error.__traceback__)) for error in errors) < 10


async def test_a_waiter_for_the_end_of_cancelled_work_is_cancelled_with_the_block() -> None:
    work = SlowToEnd()
    async with SingleFlight() as flights:
        first = asyncio.ensure_future(flights.join("key", work))
        await work.started.wait()
        first.cancel()
        await asyncio.wait([first])
        second = asyncio.ensure_future(flights.join("key", work))
        await asyncio.sleep(0)
        asyncio.get_running_loop().call_soon(work.dying.set)
    await asyncio.wait([second])
    assert second.cancelled()


async def test_work_that_has_not_begun_is_cancelled_with_its_waiters() -> None:
    work = Work()
    async with SingleFlight() as flights:
        task = asyncio.ensure_future(flights.join("key", work))
        # Now the caller has joined, and the work begins in the next turn.
        await asyncio.sleep(0)
    await asyncio.wait([task])
    assert task.cancelled()
    assert work.starts == 0
    assert "key" not in flights
