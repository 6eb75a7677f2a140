"""Hosts: how much each registry takes, as it has shown so far."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.limits.clock import Clock
from hangar_async.engine.limits.queue import RequestQueue, Ticket
from hangar_async.errors import HangarError, NetworkError, RateLimited, RegistryError

#: Answers that say that there are too many requests, or that whoever answers is overloaded.
_CROWDED = frozenset({429, 502, 503, 504})
#: What a pause counts at least for the sum of all pauses, in seconds, so that a host cannot refuse for ever.
_LEAST_PAUSE = 1.0
#: How long a mirror that does not answer is left alone, in seconds.
_MISSED_FOR = 60.0


class Host:
    """One registry: at most `limit` requests at once, and none while it is closed.

    The limit is halved when the host shows that it has too much to do, once for all requests that were under way then,
    and grows by about one with each round of requests that it answers, up to the number of permits.
    """

    def __init__(self, name: str, permits: RequestQueue, policy: RetryPolicy, clock: Clock) -> None:
        self.name = name
        self._permits = permits
        self._policy = policy
        self._clock = clock
        self._host_queue = permits.host_queue()
        self._opens_at = 0.0
        #: How often the limit was cut: what was asked before a cut says nothing about the time after it.
        self._cuts = 0
        self._refusals = 0
        self._waited = 0.0
        self._given_up: RateLimited | None = None
        self._missed: tuple[float, HangarError] | None = None

    @property
    def limit(self) -> int:
        """How many requests are made at once, at most."""
        return max(1, int(self._host_queue.limit))

    @asynccontextmanager
    async def hold(self, ticket: Ticket) -> AsyncIterator[int]:
        """Wait until the host is open and a permit is free, and hold it for the block.

        Yields what `answered` and `failed` are to be told as `asked`.
        Raises RateLimited once the host was given up.
        """
        while True:
            await self._open()
            async with self._permits.hold(ticket, self._host_queue):
                # It may have been closed while we stood in the queue.
                if self._given_up is None and self._clock.monotonic() >= self._opens_at:
                    yield self._cuts
                    return

    def check(self) -> None:
        """Raise what was `missed` a short while ago, or what closes the host now: another one can be asked instead."""
        if self._missed is not None and self._clock.monotonic() < self._missed[0]:
            raise self._missed[1]

    def missed(self, error: HangarError) -> None:
        """Note that a request has failed that another host is asked now."""
        if _is_crowded(error):
            self._missed = self._clock.monotonic() + _MISSED_FOR, error

    def answered(self, asked: int) -> None:
        """Note that a request was answered as it should be."""
        if asked != self._cuts:
            return
        self._refusals = 0
        if self._host_queue.limit < self._permits.count:
            self._host_queue.limit = min(self._permits.count, self._host_queue.limit + 1 / self._host_queue.limit)
            self._permits.grant()

    def failed(self, error: HangarError, asked: int) -> float:
        """Note that a request has failed; returns for how many seconds the host is closed now.

        0 where it is not closed, or was closed already for as long. Raises RateLimited where it asks for a longer
        pause than we make.
        """
        if _is_crowded(error) and asked == self._cuts:
            self._host_queue.limit = max(1.0, min(self._host_queue.limit, self._host_queue.active + 1) / 2)
            self._cuts += 1
            if is_quota(error):
                self._refusals += 1
        return self._close(error) if isinstance(error, RegistryError) and is_quota(error) else 0.0

    def _close(self, error: RegistryError) -> float:
        now = self._clock.monotonic()
        pause = max(error.retry_after or 0.0, 0.0)
        if error.retry_after is None or self._refusals > 1:
            # One that always says "at once" is asked less and less often all the same.
            pause = max(pause, backoff(self._policy, max(self._refusals, 1)))
        more = now + pause - max(self._opens_at, now)
        if more <= 0 < self._opens_at - now:
            return 0.0
        self._waited += max(more, _LEAST_PAUSE)
        if pause > self._policy.longest_pause or self._waited > self._policy.max_wait:
            self._given_up = self._too_long(pause, error)
            raise self._given_up
        self._opens_at = now + pause
        return pause

    def _too_long(self, pause: float, error: RegistryError) -> RateLimited:
        back = time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(self._clock.wall() + pause))
        return RateLimited(
            f"{error}; it takes no more requests before {back}",
            host=self.name,
            status=error.status,
            code=error.code,
            retry_after=pause,
            advice="run the same command again then: what was fetched is kept; logging in may give a higher limit",
        )

    async def _open(self) -> None:
        while self._given_up is None and (pause := self._opens_at - self._clock.monotonic()) > 0:
            await self._clock.sleep(pause)
        if self._given_up is not None:
            raise self._given_up


def is_quota(error: HangarError) -> bool:
    """Whether a registry says that it would answer later: no fault, and no try is used up by waiting for it."""
    return isinstance(error, RegistryError) and (
        error.status == 429 or (error.status == 503 and error.retry_after is not None)
    )


def backoff(policy: RetryPolicy, failures: int) -> float:
    """How many seconds to wait after so many failures in a row: doubling, shortened by up to a half at random."""
    span = min(policy.first * 2.0 ** min(failures - 1, 60), policy.longest)
    return span * random.uniform(0.5, 1.0)  # noqa: S311 - no secret


def _is_crowded(error: HangarError) -> bool:
    if isinstance(error, RegistryError):
        return error.status in _CROWDED
    return isinstance(error, NetworkError) and error.transient and not error.gained
