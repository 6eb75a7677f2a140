"""Work on many items in a bounded number of tasks."""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


async def each(items: Collection[_T], work: Callable[[_T], Awaitable[_R]], at_once: int) -> list[_R]:
    """Do the work on each item, in at most `at_once` tasks; return the results in the order of the items.

    The items are begun in their order. Raises as a TaskGroup does: an exception of the work ends the other work.
    """
    waiting = enumerate(items)
    results: dict[int, _R] = {}

    async def run() -> None:
        for number, item in waiting:
            results[number] = await work(item)

    async with asyncio.TaskGroup() as group:
        for _ in range(min(at_once, len(items))):
            group.create_task(run())
    return [results[number] for number in range(len(results))]
