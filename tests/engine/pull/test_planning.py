"""Images that wait for each other's content get a last word each, in the order of the list."""

from __future__ import annotations

import asyncio

import pytest

from hangar_async.engine.pull.planning import Planning


async def settled() -> None:
    """Let all tasks run until they wait."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_images_that_all_wait_end_one_after_the_other_in_the_order_of_the_list() -> None:
    planning, ended = Planning(4), list[int]()

    async def plan(number: int) -> None:
        with planning.working(number):
            await planning.wait(number, asyncio.Event())
            assert planning.is_last(number)
        ended.append(number)
        planning.end(number)

    async with asyncio.TaskGroup() as group:
        for number in (2, 0, 3):
            group.create_task(plan(number))
        await settled()
        # The other one may name something.
        assert ended == []
        group.create_task(plan(1))
    assert ended == [0, 1, 2, 3]
    assert planning.is_complete


async def test_an_image_that_works_on_holds_up_the_last_word() -> None:
    planning, event = Planning(2), asyncio.Event()

    async def plan(number: int) -> bool:
        with planning.working(number):
            await planning.wait(number, event if number else asyncio.Event())
        result = planning.is_last(number)
        planning.end(number)
        return result

    async with asyncio.TaskGroup() as group:
        first = group.create_task(plan(0))
        with planning.working(1):
            second = group.create_task(plan(1))
            await settled()
            assert not first.done()
            # It goes on: what it waited for is there.
            event.set()
    assert (first.result(), second.result()) == (True, False)


async def test_one_of_several_waits_of_an_image_holds_up_nothing_that_its_other_work_could_name() -> None:
    planning, done = Planning(1), asyncio.Event()

    async def part(is_waiting: bool) -> None:
        with planning.working(0):
            await (planning.wait(0, asyncio.Event()) if is_waiting else done.wait())

    async with asyncio.TaskGroup() as group:
        group.create_task(part(True))
        group.create_task(part(False))
        await settled()
        assert not planning.is_last(0)
        done.set()
        await settled()
        assert planning.is_last(0)


@pytest.mark.parametrize("failed", [False, True])
async def test_an_image_that_follows_an_earlier_one_is_not_the_last(failed: bool) -> None:
    planning = Planning(2)
    earlier: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def plan() -> None:
        with planning.working(1):
            await planning.get_last(1)
        if failed:
            earlier.set_exception(ValueError("no name"))
        else:
            earlier.set_result("name")
        planning.end(1)

    async with asyncio.TaskGroup() as group:
        group.create_task(plan())
        if failed:
            with pytest.raises(ValueError, match="no name"):
                await planning.follow(0, earlier)
        else:
            assert await planning.follow(0, earlier) == "name"
    planning.end(0)
    assert planning.is_complete


async def test_a_cancelled_wait_is_over() -> None:
    planning = Planning(2)

    async def plan(number: int) -> None:
        try:
            with planning.working(number):
                await planning.get_last(number)
        finally:
            planning.end(number)

    first, second = asyncio.create_task(plan(0)), asyncio.create_task(plan(1))
    await asyncio.sleep(0)
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    await second
    assert planning.is_complete
