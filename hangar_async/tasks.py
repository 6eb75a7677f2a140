"""Work on many items in a bounded number of tasks."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import aclosing, asynccontextmanager, suppress
from itertools import islice
from typing import TypeVar

_T = TypeVar("_T")
_R = TypeVar("_R")


async def each(items: Collection[_T], work: Callable[[_T], Awaitable[_R]], at_once: int) -> list[_R]:
    """Do the work on each item, at most `at_once` at a time; return the results in the order of the items.

    The task of the caller does a share of it: a single item needs no other task. The items are begun in their order.
    Raises as a TaskGroup does: an exception of the work ends the other work.
    """
    if not items:
        return []
    waiting = enumerate(items)
    results: dict[int, _R] = {}

    async def run() -> None:
        for number, item in waiting:
            results[number] = await work(item)

    await _beside(run, min(at_once, len(items)))
    return [results[number] for number in range(len(results))]


async def every(items: Iterable[_T], work: Callable[[_T], Awaitable[object]], at_once: int) -> None:
    """Do the work on each of any number of items, as `each` does, and keep no results."""
    waiting = iter(items)

    async def run() -> None:
        for item in waiting:
            await work(item)

    await _beside(run, at_once)


async def _beside(run: Callable[[], Coroutine[None, None, None]], count: int) -> None:
    async with asyncio.TaskGroup() as group:
        for _ in range(count - 1):
            group.create_task(run())
        await run()


async def first_of(*works: Callable[[], Awaitable[object]]) -> None:
    """Do several works at once until one of them is done; the others are cancelled. Raises as a TaskGroup does."""

    async def run(work: Callable[[], Awaitable[object]]) -> None:
        await work()

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(run(work)) for work in works]
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            task.cancel()


@asynccontextmanager
async def ahead(
    items: Iterable[_T], work: Callable[[_T], Awaitable[_R]], count: int
) -> AsyncIterator[AsyncIterator[tuple[_T, _R]]]:
    """Open an iterator of items and their results, in order; the work on the next `count` goes on beside the caller.

    Raises as a TaskGroup does: an exception of the work, or of the block, ends the other work.
    """
    async with asyncio.TaskGroup() as group:

        async def run(item: _T) -> tuple[_T, _R]:
            return item, await work(item)

        async def results() -> AsyncGenerator[tuple[_T, _R], None]:
            waiting = iter(items)
            tasks = deque(group.create_task(run(item)) for item in islice(waiting, count))
            while tasks:
                result = await tasks.popleft()
                tasks.extend(group.create_task(run(item)) for item in islice(waiting, 1))
                yield result

        async with aclosing(results()) as found:
            yield found


async def undone_if_cancelled(
    work: Callable[[], Awaitable[_T]], undo: Callable[[], Awaitable[None]], seconds: float
) -> _T:
    """Do the work; a cancellation lets it come to its end and undoes it, as far as both take no more than `seconds`.

    For work whose effect elsewhere only its end tells how to undo.
    """
    result: asyncio.Future[_T] = asyncio.get_running_loop().create_future()

    async def run() -> None:
        # An exception raised here would end the group.
        try:
            result.set_result(await work())
        except Exception as error:
            result.set_exception(error)
            result.exception()  # so that it is not reported as never retrieved after a cancellation

    async with asyncio.TaskGroup() as group:
        task = group.create_task(run())
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await asyncio.wait([task])
                    await undo()
            raise
    return result.result()
