"""Pulls that a registry still allows are left to others, exactly as many as they should be."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import pytest

from hangar_async.config.registries import HostLimits, RetryPolicy
from hangar_async.engine.events import Event, QuotaReported
from hangar_async.engine.limits.quota import PullQuota, Quotas
from hangar_async.errors import NotFound, RateLimited
from hangar_async.registry.manifests import Quota
from tests.fakes.clock import FakeClock


class Hub:
    """A registry that counts pulls, and what a run knows of them."""

    def __init__(self, limit: int, kept: int | None, window: int = 3600) -> None:
        self.time = FakeClock()
        self.events: list[Event] = []
        self.quota = PullQuota("docker.io", kept, self.events.append, self.time.clock)
        self.left = self.limit = limit
        self.window = window
        self.heads = 0

    def report(self, left: int | None = None) -> None:
        self.quota.reported(Quota(self.left if left is None else left, self.limit, self.window))

    async def head(self) -> None:
        self.heads += 1
        self.report()

    async def pull(self) -> None:
        async with self.quota.pull(self.head):
            self.left -= 1
            await asyncio.sleep(0)
            self.report()

    async def pull_all(self) -> None:
        with pytest.raises(RateLimited):
            while True:
                await self.pull()


@pytest.mark.parametrize("at_once", [1, 7])
@pytest.mark.parametrize(("limit", "kept", "left"), [(20, 6, 6), (20, 0, 0), (5, 5, 5), (5, 9, 5)])
async def test_so_many_pulls_are_left(limit: int, kept: int, left: int, at_once: int) -> None:
    hub = Hub(limit, kept)
    await asyncio.gather(*(hub.pull_all() for _ in range(at_once)))
    assert (hub.left, hub.heads) == (left, 1)


async def test_without_a_bound_nothing_is_kept_and_nothing_asked() -> None:
    hub = Hub(3, None)
    for _ in range(5):
        await hub.pull()
    assert (hub.left, hub.heads) == (-2, 0)
    assert hub.events == [QuotaReported("docker.io", left, 3, 3600) for left in (2, 1, 0, -1, -2)]


async def test_a_registry_without_a_quota_is_pulled_from() -> None:
    hub, heads = Hub(0, 10), list[int]()

    async def head() -> None:
        heads.append(1)
        raise NotFound("no such tag", host="docker.io", status=404)

    for _ in range(3):
        async with hub.quota.pull(head):
            pass
    assert heads == [1]


async def test_the_others_wait_for_pulls_that_may_be_counted_already() -> None:
    hub = Hub(10, 8)
    await hub.head()
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(hub.quota.pull(hub.head))
        await stack.enter_async_context(hub.quota.pull(hub.head))
        third = asyncio.ensure_future(hub.pull())
        for _ in range(9):
            await asyncio.sleep(0)
        assert not third.done()
        # Both have failed before they counted.
    await third
    assert hub.left == 9


async def test_an_old_answer_raises_nothing_and_a_new_window_does() -> None:
    hub = Hub(10, 8)
    hub.report(8)
    hub.report(10)
    with pytest.raises(RateLimited) as raised:
        await hub.pull()
    assert raised.value.retry_after == 3600
    hub.time.now += 3600
    await hub.pull()
    assert hub.left == 9
    await hub.pull()
    with pytest.raises(RateLimited):
        await hub.pull()
    assert hub.left == 8


async def test_the_refusal_says_how_many_are_left_and_when_the_window_ends() -> None:
    hub = Hub(100, 12)
    hub.report(12)
    hub.time.now += 1800
    with pytest.raises(RateLimited) as raised:
        await hub.pull()
    expected = (
        r"docker.io has 12 of 100 pulls left, which keep-quota leaves to others; "
        r"its window ends at 2027-01-15 \d\d:\d\d:00 \S+ at the latest"
    )
    raised.match(expected)
    assert not raised.value.transient
    hub = Hub(100, 12, window=0)
    hub.report(12)
    with pytest.raises(RateLimited, match=r"it does not say when its window ends$"):
        await hub.pull()


def test_each_host_has_its_own_quota() -> None:
    events: list[Event] = []
    quotas = Quotas(lambda host: None, events.append, FakeClock().clock)
    quotas.of("silent.example")
    for host, left in (("a.example", 5), ("b.example", 7), ("a.example", 4)):
        quotas.reported(host, Quota(left, 10, 0))
    assert quotas.last == (QuotaReported("a.example", 4, 10, 0), QuotaReported("b.example", 7, 10, 0))
    assert len(events) == 3


async def test_each_host_keeps_its_own_pulls() -> None:
    policy = RetryPolicy(keep_quota=3, hosts={"docker.io": HostLimits(keep_quota=20), "b.example": HostLimits(0)})
    quotas = Quotas(policy.kept, lambda event: None, FakeClock().clock)

    async def head() -> None:
        raise AssertionError("the quota is known")

    async def pull(host: str, left: int) -> None:
        quotas.reported(host, Quota(left, 100, 3600))
        async with quotas.of(host).pull(head):
            pass

    for host, kept in (("docker.io", 20), ("a.example", 3), ("b.example", 0)):
        await pull(host, kept + 1)
        with pytest.raises(RateLimited):
            await pull(host, kept)
