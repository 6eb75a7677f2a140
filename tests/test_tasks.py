"""A bounded number of tasks does all the work, in order."""

from __future__ import annotations

import asyncio

import pytest

from hangar_async.tasks import each


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
