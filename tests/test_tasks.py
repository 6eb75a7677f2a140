"""A bounded number of tasks does all the work, in order."""

from __future__ import annotations

import asyncio

import pytest

from hangar_async.tasks import ahead, each, first_of, undone_if_cancelled


async def test_the_results_have_the_order_of_the_items_and_the_tasks_a_bound() -> None:
    active: list[int] = []
    peaks: list[int] = []
    begun: list[int] = []

    async def work(item: int) -> int:
        begun.append(item)
        active.append(item)
        peaks.append(len(active))
        for _ in range(item % 3):
            await asyncio.sleep(0)
        active.remove(item)
        return item * 2

    assert await each(range(100), work, 7) == [item * 2 for item in range(100)]
    assert begun == list(range(100))
    assert max(peaks) == 7


async def test_nothing_to_do_makes_no_task() -> None:
    async def work(item: int) -> int:
        raise AssertionError

    assert await each([], work, 7) == []


async def test_an_exception_ends_the_other_work() -> None:
    ended: list[int] = []

    async def work(item: int) -> None:
        try:
            if item == 2:
                raise ValueError("two")
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(item)

    with pytest.RaisesGroup(ValueError):
        await each(range(100), work, 3)
    assert sorted(ended) == [0, 1, 2]


async def test_the_first_of_several_works_ends_the_others() -> None:
    cancelled: list[str] = []

    async def waits() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append("waits")
            raise

    await first_of(waits, lambda: asyncio.sleep(0))
    assert cancelled == ["waits"]

    async def fails() -> None:
        raise ValueError

    with pytest.raises(ExceptionGroup) as raised:
        await first_of(fails, waits)
    assert [type(error) for error in raised.value.exceptions] == [ValueError]
    assert cancelled == ["waits", "waits"]


async def test_so_many_items_are_worked_on_ahead_of_the_caller() -> None:
    begun: list[int] = []

    async def work(item: int) -> int:
        begun.append(item)
        for _ in range(item % 3):
            await asyncio.sleep(0)
        return item * 2

    async with ahead(range(7), work, 2) as results:
        seen = []
        async for item, result in results:
            await asyncio.sleep(0)
            assert begun == list(range(min(item + 3, 7)))
            seen.append((item, result))
    assert seen == [(item, item * 2) for item in range(7)]


@pytest.mark.parametrize("work_fails", [True, False])
async def test_work_ahead_ends_with_its_block(*, work_fails: bool) -> None:
    ended: list[int] = []

    async def work(item: int) -> int:
        try:
            if item == 0:
                return item
            if work_fails:
                raise ValueError
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(item)
        raise AssertionError

    with pytest.RaisesGroup(ValueError):
        async with ahead(range(9), work, 2) as results:
            async for item, _ in results:
                assert item == 0
                await asyncio.sleep(0)
                raise ValueError
    assert set(ended) <= {0, 1, 2}


async def test_cancelled_work_comes_to_its_end_and_is_undone() -> None:
    may_end, steps = asyncio.Event(), list[str]()

    async def work() -> None:
        steps.append("begun")
        await may_end.wait()
        steps.append("done")

    async def undo() -> None:
        steps.append("undone")

    task = asyncio.create_task(undone_if_cancelled(work, undo, 60))
    await asyncio.sleep(0.001)
    task.cancel()
    await asyncio.sleep(0)
    may_end.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert steps == ["begun", "done", "undone"]


@pytest.mark.parametrize("slow", ["work", "undo"])
async def test_neither_the_work_nor_its_undoing_outlasts_the_time(slow: str) -> None:
    ended = asyncio.Event()

    async def wait() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.set()

    async def nothing() -> None:
        pass

    work, undo = (wait, nothing) if slow == "work" else (nothing, wait)

    async def caller() -> None:
        await undone_if_cancelled(work, undo, 0.001)

    task = asyncio.create_task(caller())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


@pytest.mark.parametrize("error", [None, ValueError("broken")])
async def test_work_that_is_not_cancelled_is_not_undone(error: Exception | None) -> None:
    async def work() -> int:
        if error is not None:
            raise error
        return 7

    async def undo() -> None:
        raise AssertionError

    if error is None:
        assert await undone_if_cancelled(work, undo, 60) == 7
    else:
        with pytest.raises(ValueError, match="broken"):
            await undone_if_cancelled(work, undo, 60)
