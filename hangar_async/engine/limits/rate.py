"""The rate of all transfers of a run together."""

import math

from hangar_async.engine.limits.hosts import Clock


class RateLimit:
    """Lets all transfers that share it pass `rate` bytes a second; None is no limit."""

    def __init__(self, rate: int | None, clock: Clock | None = None) -> None:
        #: The bytes a second, which may be changed.
        self.rate = rate
        self._clock = clock or Clock()
        self._free_at = -math.inf

    async def take(self, count: int) -> None:
        """Wait for the time that these bytes, and all before them, take at the rate."""
        if self.rate is None or not count:
            return
        now = self._clock.monotonic()
        self._free_at = max(self._free_at, now) + count / self.rate
        await self._clock.sleep(self._free_at - now)
