"""Time, as whoever waits is given it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """What time it is, in seconds since some moment and since 1970, and how to wait; a test has one of its own."""

    monotonic: Callable[[], float] = time.monotonic
    wall: Callable[[], float] = time.time
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class RateLimit:
    """Lets bytes pass at `rate` a second over all transfers that share it; None lets all pass at once."""

    def __init__(self, rate: int | None, clock: Clock | None = None) -> None:
        self._rate = rate
        self._clock = clock or Clock()
        self._free_at = 0.0

    async def take(self, count: int) -> None:
        """Wait until the line is free again after these bytes and all that were before them."""
        if self._rate is None or not count:
            return
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + count / self._rate
        await self._clock.sleep(self._free_at - now)
