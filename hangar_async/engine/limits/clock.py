"""The clock of a run, and a cap on its bytes a second."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """A clock that tests can replace: seconds since some moment, seconds since 1970, and a sleep."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class RateLimit:
    """Lets all transfers that share it pass `rate` bytes a second; None is no limit."""

    def __init__(self, rate: int | None, clock: Clock | None = None) -> None:
        self._rate = rate
        self._clock = clock or Clock()
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        """Wait for the time that these bytes, and all before them, take at the rate."""
        if self._rate is None or not count:
            return
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + count / self._rate
        await self._clock.sleep(self._free_at - now)
