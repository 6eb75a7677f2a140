"""Quotas of pulls: how many manifests a registry still lets us get, and how many of these are left to others."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from functools import partial

from hangar_async.engine.events import Observer, QuotaReported
from hangar_async.engine.limits.hosts import Clock
from hangar_async.errors import RateLimited, RegistryError
from hangar_async.registry.manifests import Quota


class PullQuota:
    """The quota of one host, as its answers tell it; `kept` of its pulls are left to others, None for no bound.

    A pull is a manifest that is got; HEADs count for no quota. As long as a window lasts the lowest number counts that
    was told in it: answers may come in another order than they were made.
    Source: Docker's documentation, "Docker Hub usage and limits".
    """

    def __init__(self, host: str, kept: int | None, observe: Observer, clock: Clock) -> None:
        #: The last report; None without one.
        self.last: QuotaReported | None = None
        self._host = host
        self._kept = kept
        self._observe = observe
        self._clock = clock
        self._lowest: int | None = None
        self._window_began = 0.0
        #: The pulls that are under way, which the reports may not count yet.
        self._pulls = 0
        self._pull_ended = asyncio.Event()
        self._is_known = False
        self._first = asyncio.Lock()

    def reported(self, quota: Quota) -> None:
        """Note the quota that an answer has told."""
        self.last = QuotaReported(self._host, quota.remaining, quota.limit, quota.window)
        self._is_known = True
        if self._lowest is None or (quota.window and self._seconds_left(quota.window) <= 0):
            self._window_began, self._lowest = self._clock.monotonic(), quota.remaining
        self._lowest = min(self._lowest, quota.remaining)
        self._observe(self.last)

    @asynccontextmanager
    async def pull(self, head: Callable[[], Awaitable[object]]) -> AsyncIterator[None]:
        """Hold the right to one pull; raises RateLimited where that would be one of the pulls that are kept.

        Before the first one `head` asks for the quota, where no answer has told it yet.
        """
        if self._kept is None:
            yield
            return
        await self._learn(head)
        while not self._allows(self._kept):
            if not self._pulls:
                raise self._refusal()
            self._pull_ended.clear()
            await self._pull_ended.wait()
        self._pulls += 1
        try:
            yield
        finally:
            self._pulls -= 1
            self._pull_ended.set()

    async def _learn(self, head: Callable[[], Awaitable[object]]) -> None:
        async with self._first:
            if not self._is_known:
                with suppress(RegistryError):  # the answer to the GET says why
                    await head()
                self._is_known = True

    def _allows(self, kept: int) -> bool:
        if self.last is None or self._lowest is None:
            return True
        if self.last.window and self._seconds_left(self.last.window) <= 0:
            # The next answer tells how many there are now.
            return not self._pulls
        return self._lowest - self._pulls > kept

    def _seconds_left(self, window: int) -> float:
        """Return the seconds after which a window has ended for certain; it may have begun before its first report."""
        return self._window_began + window - self._clock.monotonic()

    def _refusal(self) -> RateLimited:
        assert self.last is not None  # noqa: S101 - nothing is refused without a report
        seconds, ends = None, "it does not say when its window ends"
        if self.last.window:
            seconds = self._seconds_left(self.last.window)
            moment = time.localtime(self._clock.wall() + seconds)
            ends = f"its window ends at {time.strftime('%Y-%m-%d %H:%M:%S %Z', moment)} at the latest"
        return RateLimited(
            f"{self._host} has {self._lowest:,} of {self.last.limit:,} pulls left, which keep-quota leaves to "
            f"others; {ends}",
            host=self._host,
            status=429,
            retry_after=seconds,
            advice="run the same command again then; logging in may give a higher limit",
        )


class Quotas:
    """The quotas of all hosts of a run; `kept` tells how many pulls of each are left to others."""

    def __init__(self, kept: Callable[[str], int | None], observe: Observer, clock: Clock) -> None:
        self._kept = kept
        self._make = partial(PullQuota, observe=observe, clock=clock)
        self._hosts: dict[str, PullQuota] = {}

    def of(self, host: str) -> PullQuota:
        """Return the quota of a host."""
        if host not in self._hosts:
            self._hosts[host] = self._make(host, self._kept(host))
        return self._hosts[host]

    def reported(self, host: str, quota: Quota) -> None:
        """Note the quota that an answer of a host has told."""
        self.of(host).reported(quota)

    @property
    def last(self) -> tuple[QuotaReported, ...]:
        """The last report of each host that has told one."""
        return tuple(quota.last for quota in self._hosts.values() if quota.last is not None)
