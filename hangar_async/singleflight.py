"""Single flight: what several want at once is got once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, TypeVar

_T = TypeVar("_T")


@dataclass(slots=True)
class _Flight:
    result: asyncio.Future[Any]
    passengers: int = 0
    task: asyncio.Task[None] | None = None


class SingleFlight:
    """Runs work in tasks of its own, one for each key at a time, so that a cancelled waiter takes no other with it.

    Work ends when the last of those who wait for it is cancelled, and when the block ends. Nothing is remembered:
    who comes after the end of a flight starts the next one.
    """

    def __init__(self) -> None:
        self._aloft: dict[Hashable, _Flight] = {}
        self._group = asyncio.TaskGroup()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for flight in self._aloft.values():
            if flight.task:
                flight.task.cancel()
        # The block's own exception is not for the group, which would wrap it; the tasks are cancelled already.
        await self._group.__aexit__(None, None, None)

    async def join(self, key: Hashable, work: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for the work that runs under `key`, starting it where there is none; raises what it raises."""
        flight = self._aloft.get(key)
        if flight is None:
            flight = self._aloft[key] = _Flight(asyncio.get_running_loop().create_future())
            flight.task = self._group.create_task(self._fly(key, flight, work))
        flight.passengers += 1
        try:
            result: _T = await asyncio.shield(flight.result)
        finally:
            flight.passengers -= 1
            if not flight.passengers and not flight.result.done() and flight.task:
                self._land(key, flight)
                flight.task.cancel()
        return result

    async def _fly(self, key: Hashable, flight: _Flight, work: Callable[[], Awaitable[Any]]) -> None:
        # An exception of the work belongs to those who wait: let out, it would end the whole group.
        try:
            value = await work()
        except asyncio.CancelledError:
            flight.result.cancel()
            raise
        except Exception as error:
            flight.result.set_exception(error)
        else:
            flight.result.set_result(value)
        finally:
            self._land(key, flight)

    def _land(self, key: Hashable, flight: _Flight) -> None:
        if self._aloft.get(key) is flight:
            del self._aloft[key]
