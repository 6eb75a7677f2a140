"""Hosts: how many requests each registry takes, as its answers have shown; and the clock of all waits."""

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.limits.queue import RequestQueue, Ticket
from hangar_async.errors import HangarError, NetworkError, RateLimited, RegistryError, copied


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


#: Statuses that say that there are too many requests, or that the server is overloaded.
_OVERLOADED = frozenset({429, 502, 503, 504})
#: A pause counts at least this much for the sum of all pauses, in seconds, so that a host cannot refuse without end.
_SHORTEST_PAUSE = 1.0
#: The time for which a mirror that does not answer is passed over, in seconds.
_SKIP_SECONDS = 60.0


class Host:
    """One registry: at most `limit` requests at once, and none while it is closed.

    The limit is halved when the host is overloaded, once for all requests that were under way then. It grows by about
    one with each round of requests that are answered, up to the number of permits.
    """

    def __init__(self, name: str, queue: RequestQueue, policy: RetryPolicy, clock: Clock) -> None:
        self.name = name
        self._queue = queue
        self._policy = policy
        self._clock = clock
        self._host_queue = queue.host_queue()
        self._opens_at = 0.0
        #: How often the limit was cut. A request from before a cut says nothing about the time after it.
        self._cuts = 0
        self._refusals = 0
        self._waited = 0.0
        self._rate_limited: RateLimited | None = None
        self._skipped: tuple[float, HangarError] | None = None

    @property
    def limit(self) -> int:
        """The largest number of requests at the same time."""
        return max(1, int(self._host_queue.limit))

    @asynccontextmanager
    async def hold(self, ticket: Ticket) -> AsyncIterator[int]:
        """Wait until the host is open and a permit is free, and hold it for the block.

        Yields the number that `answered` and `failed` take as `cuts`. Raises RateLimited once the host was given up.
        """
        while True:
            await self._wait_until_open()
            async with self._queue.hold(ticket, self._host_queue):
                # It may have been closed during the wait in the queue.
                if self._rate_limited is None and self._clock.monotonic() >= self._opens_at:
                    yield self._cuts
                    return

    def check_skipped(self) -> None:
        """Raise the recent error for which this host is passed over."""
        if self._skipped is not None and self._clock.monotonic() < self._skipped[0]:
            raise copied(self._skipped[1])

    def skip(self, error: HangarError) -> None:
        """Note the failure of a request that another host is asked now."""
        if _is_overload(error):
            self._skipped = self._clock.monotonic() + _SKIP_SECONDS, error

    def answered(self, cuts: int) -> None:
        """Note that a request was answered."""
        if cuts != self._cuts:
            return
        self._refusals = 0
        if self._host_queue.limit < self._queue.count:
            self._host_queue.limit = min(self._queue.count, self._host_queue.limit + 1 / self._host_queue.limit)
            self._queue.grant()

    def failed(self, error: HangarError, cuts: int) -> float:
        """Note that a request has failed, and return for how many seconds the host is closed by that.

        0 where it is not closed, or was closed already for as long. Raises RateLimited where it asks for a longer
        pause than is allowed.
        """
        if _is_overload(error) and cuts == self._cuts:
            self._host_queue.limit = max(1.0, min(self._host_queue.limit, self._host_queue.active + 1) / 2)
            self._cuts += 1
            if is_quota(error):
                self._refusals += 1
        return self._close(error) if isinstance(error, RegistryError) and is_quota(error) else 0.0

    def _close(self, error: RegistryError) -> float:
        now = self._clock.monotonic()
        pause = max(error.retry_after or 0.0, 0.0)
        if error.retry_after is None or self._refusals > 1:
            # A host that always says "at once" is asked less and less often all the same.
            pause = max(pause, backoff(self._policy, max(self._refusals, 1)))
        more = now + pause - max(self._opens_at, now)
        if more <= 0 < self._opens_at - now:
            return 0.0
        self._waited += max(more, _SHORTEST_PAUSE)
        if pause > self._policy.longest_pause or self._waited > self._policy.max_wait:
            self._rate_limited = self._give_up(pause, error)
            raise copied(self._rate_limited)
        self._opens_at = now + pause
        return pause

    def _give_up(self, pause: float, error: RegistryError) -> RateLimited:
        opens = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(self._clock.wall() + pause))
        return RateLimited(
            f"{error}; it takes no more requests before {opens}",
            host=self.name,
            status=error.status,
            code=error.code,
            retry_after=pause,
            advice="run the same command again then: what was fetched is kept; logging in may give a higher limit",
        )

    async def _wait_until_open(self) -> None:
        while self._rate_limited is None and (pause := self._opens_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(pause)
        if self._rate_limited is not None:
            raise copied(self._rate_limited)


def is_quota(error: HangarError) -> bool:
    """Tell whether a registry says that it answers later: waiting for it uses up no try."""
    return isinstance(error, RegistryError) and (
        error.status == 429 or (error.status == 503 and error.retry_after is not None)
    )


def backoff(policy: RetryPolicy, failures: int) -> float:
    """Return how many seconds to wait after some failures in a row: doubling, shortened by up to a half at random."""
    span = min(policy.first * 2.0 ** min(failures - 1, 60), policy.longest)
    return span * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _is_overload(error: HangarError) -> bool:
    if isinstance(error, RegistryError):
        return error.status in _OVERLOADED
    return isinstance(error, NetworkError) and error.transient and not error.gained
