"""A clock on which waiting takes no time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hangar_async.engine.limits.hosts import Clock

_TURNS = 20


async def turns_until(done: Callable[[], bool], most: int = 200_000) -> None:
    """Let others have their turn until it is done, with a bound on the turns and no wait."""
    for _ in range(most):
        if done():
            return
        await asyncio.sleep(0)
    raise AssertionError("it is not done")


class FakeClock:
    """Tells a time that only waiting moves on; `waits` are all that was waited for."""

    def __init__(self, now: float = 1000.0, wall: float = 1_800_000_000.0) -> None:
        self.now = now
        self._wall = wall - now
        self.waits: list[float] = []

    async def sleep(self, seconds: float) -> None:
        """Let the time go by at once, and others have their turn."""
        self.waits.append(seconds)
        due = self.now + seconds
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self.now = max(self.now, due)

    @property
    def clock(self) -> Clock:
        """The clock as our code takes it."""
        return Clock(lambda: self.now, lambda: self.now + self._wall, self.sleep)
