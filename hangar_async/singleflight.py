"""Single flight: one task for all who want the same result at the same time."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Self, TypeVar

from hangar_async.errors import copied

_T = TypeVar("_T")


@dataclass(slots=True)
class _SharedTask:
    result: asyncio.Future[Any]
    task: asyncio.Task[None]
    waiters: int = 0
    abandoned: bool = False
    ends: list[asyncio.Future[None]] = field(default_factory=list)

    async def ended(self) -> None:
        """Wait for the end of the task; lighter than `asyncio.wait`."""
        self.ends.append(end := asyncio.get_running_loop().create_future())
        await end

    def end(self) -> None:
        """Note the end of the task."""
        self.result.cancel()
        for end in self.ends:
            if not end.done():
                end.set_result(None)

    def abandon(self) -> None:
        """Cancel the work, once: a second cancellation would cut its clean-up short."""
        if not self.abandoned:
            self.abandoned = True
            self.task.cancel()


class SingleFlight:
    """Runs work in its own tasks, one at a time for each key; a cancelled waiter does not end the work of the others.

    The first caller starts the work, the others follow. Work without waiters is cancelled, and all work is cancelled at
    the end of the block, with all waiters. The next work of a key starts after the end of the last, also when that was
    cancelled. Results are not kept.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _SharedTask] = {}
        self._group = asyncio.TaskGroup()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        self._is_closed = True
        for flight in self._flights.values():
            flight.abandon()
        # The group would wrap the exception of the block; the tasks are cancelled already.
        await self._group.__aexit__(None, None, None)

    def __contains__(self, key: Hashable) -> bool:
        """Tell whether work of this key runs."""
        return key in self._flights

    async def join(self, key: Hashable, work: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for the work of a key, starting it where none runs; raises the exception of the work.

        Each waiter gets a copy of an error of this package, and all the same exception of another kind.
        """
        while (flight := self._flights.get(key)) is not None and (flight.abandoned or flight.task.done()):
            await flight.ended()
            if self._is_closed:
                raise asyncio.CancelledError
        if flight is None:
            flight = self._start(key, work)
        flight.waiters += 1
        try:
            await flight.ended()
        finally:
            flight.waiters -= 1
            if not flight.waiters and not flight.task.done():
                flight.abandon()
        if not flight.result.cancelled() and isinstance(error := flight.result.exception(), Exception):
            raise copied(error)
        value: _T = flight.result.result()
        return value

    def _start(self, key: Hashable, work: Callable[[], Awaitable[Any]]) -> _SharedTask:
        result = asyncio.get_running_loop().create_future()
        flight = self._flights[key] = _SharedTask(result, self._group.create_task(_run(result, work)))
        flight.task.add_done_callback(partial(self._ended, key))
        return flight

    def _ended(self, key: Hashable, _: asyncio.Task[None]) -> None:
        # Not in the task: one that is cancelled before its first step runs nothing.
        self._flights.pop(key).end()


async def _run(result: asyncio.Future[Any], work: Callable[[], Awaitable[Any]]) -> None:
    # An exception of the work goes to its waiters: raised here, it would end the group.
    try:
        result.set_result(await work())
    except Exception as error:
        result.set_exception(error)
        result.exception()  # so that one without waiters is not reported as never retrieved
