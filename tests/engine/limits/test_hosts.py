"""Pauses of a registry, its number of requests at once, and the limit of the rate."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
from hypothesis import given, strategies as st

from hangar_async.engine.events import HostClosed
from hangar_async.engine.limits.hosts import RateLimit
from hangar_async.engine.limits.queue import Ticket
from hangar_async.errors import HangarError, NetworkError, RateLimited, RegistryError, SourceError
from tests.engine.limits.rig import POLICY, Trial, busy
from tests.fakes.clock import FakeClock, turns_until


async def test_without_a_cap_nothing_waits() -> None:
    time = FakeClock()
    await RateLimit(None, time.clock).take(1 << 40)
    assert time.waits == []


async def test_transfers_share_the_rate() -> None:
    time = FakeClock()
    limit = RateLimit(1000, time.clock)

    async def transfer() -> None:
        for _ in range(5):
            await limit.take(2000)

    async with asyncio.TaskGroup() as group:
        for _ in range(4):
            group.create_task(transfer())
    assert 40.0 <= time.now - 1000.0 < 40.1


async def test_a_pause_gives_no_credit() -> None:
    time = FakeClock()
    limit = RateLimit(1000, time.clock)
    await limit.take(1000)
    time.now += 3600
    before = time.now
    await limit.take(5000)
    assert time.now - before == 5.0


@given(st.lists(st.integers(0, 1 << 20), min_size=1, max_size=20), st.integers(1, 1 << 30))
def test_never_faster_than_the_rate(pieces: list[int], rate: int) -> None:
    async def run() -> float:
        time = FakeClock(now=0.0)
        limit = RateLimit(rate, time.clock)
        for piece in pieces:
            await limit.take(piece)
        return time.now

    assert abs(asyncio.run(run()) - sum(pieces) / rate) < 1e-6 * (1 + sum(pieces) / rate)


@pytest.mark.parametrize("asked", [901.0, 21600.0])
async def test_a_pause_that_is_too_long_fails_all_of_this_host_at_once(asked: float) -> None:
    trial = Trial()
    with pytest.raises(RateLimited, match=r"takes no more requests before 20\d\d-\d\d-\d\d ") as caught:
        await trial.run(busy(asked))
    assert caught.value.reason == "rate limited"
    assert caught.value.retry_after == asked
    assert trial.time.waits == []
    with pytest.raises(RateLimited):
        await trial.run()
    assert trial.tries == 1
    assert await trial.run(host="other") == "done"


async def test_all_that_a_closed_host_fails_get_an_error_of_their_own() -> None:
    trial = Trial()
    depths: list[int] = []
    for error in (busy(901.0), *[None] * 50):
        with pytest.raises(RateLimited) as caught:
            await trial.run(*filter(None, [error]))
        depths.append(sum(1 for _ in traceback.walk_tb(caught.value.__traceback__)))
    assert max(depths) <= 8


async def test_a_refusal_of_the_storage_holds_up_what_it_serves_and_nothing_else() -> None:
    trial = Trial()
    held = asyncio.create_task(trial.run(busy(60.0, host="cdn"), kind="blobs"))
    await turns_until(lambda: bool(trial.closed()))
    assert await trial.run(kind="documents") == "done"
    assert await trial.run(kind="blobs", host="other") == "done"
    assert trial.time.now == 1000.0
    assert [event for event in trial.events if isinstance(event, HostClosed)] == [
        HostClosed("cdn", "too many requests", 60.0)
    ]
    # A further request for a blob waits, since it would go there too.
    assert await trial.run(kind="blobs") == "done"
    assert trial.time.now == 1060.0
    assert await held == "done"


async def test_a_storage_that_two_registries_use_is_one_host() -> None:
    trial = Trial()
    with pytest.raises(RateLimited):
        await trial.run(busy(901.0, host="cdn"), kind="blobs")
    with pytest.raises(RateLimited):
        await trial.run(busy(1.0, host="cdn"), host="other", kind="blobs")
    assert await trial.run(host="other", kind="documents") == "done"
    assert await trial.run(kind="documents") == "done"


async def test_a_storage_that_has_too_much_to_do_gets_fewer_requests() -> None:
    trial = Trial(jobs=8)
    active, peak = Counter[str](), Counter[str]()
    go = asyncio.Event()
    failures = [RegistryError("busy", host="cdn", status=503)]

    async def once(kind: str) -> None:
        active[kind] += 1
        peak[kind] = max(peak[kind], active[kind])
        try:
            await go.wait()
            for _ in range(5):
                await asyncio.sleep(0)
            if kind == "blobs" and failures:
                raise failures.pop()
        finally:
            active[kind] -= 1

    async def round_of(count: int) -> None:
        peak.clear()
        go.clear()
        async with asyncio.TaskGroup() as group:
            for number in range(count):
                for kind in ("blobs", "documents"):
                    ticket = Ticket((number,))
                    group.create_task(trial.retrier.run("it", "h", ticket, partial(once, kind), kind=kind))
            await turns_until(lambda: sum(active.values()) == 8)
            go.set()

    await round_of(4)
    assert peak["blobs"] == 4
    hosts = trial.retrier.hosts
    assert (hosts.host("h").limit, hosts.host("cdn").limit) == (8, 4)
    assert hosts.host("h").queue.active == hosts.host("cdn").queue.active == 0


async def test_the_failure_of_a_source_counts_for_the_source() -> None:
    trial = Trial()
    failure = SourceError("cannot read it", failure=busy(60.0, host="source"))
    assert await trial.run(failure, kind="uploads") == "done"
    assert [(event.host, event.seconds) for event in trial.events if isinstance(event, HostClosed)] == [("source", 60)]
    assert trial.tries == 2


@pytest.mark.parametrize("seconds", [60.0, 901.0])
async def test_a_closed_host_is_passed_over_where_another_can_be_asked(seconds: float) -> None:
    trial = Trial()
    held = asyncio.create_task(trial.run(busy(seconds)))
    for _ in range(10):
        await asyncio.sleep(0)
    with pytest.raises(RegistryError, match="too many requests"):
        await trial.run(alternatives=True)
    assert trial.tries == 1
    await asyncio.wait([held])


@pytest.mark.parametrize("asked", [600.0, 0.0, None])
async def test_the_pauses_of_a_host_end_in_sum(asked: float | None) -> None:
    trial = Trial()
    with pytest.raises(RateLimited):
        await trial.run(*(busy(asked) for _ in range(10_000)))
    assert sum(trial.time.waits) <= POLICY.max_wait
    assert trial.tries == 7 if asked else trial.tries < 4000


async def test_one_refusal_holds_up_all_requests_of_the_host_and_of_no_other() -> None:
    trial = Trial()
    order: list[str] = []

    def asking(name: str, *errors: HangarError) -> Callable[[], Awaitable[None]]:
        rest = list(errors)

        async def once() -> None:
            order.append(f"{name} at {trial.time.now:.0f}")
            if rest:
                raise rest.pop(0)

        return once

    async with asyncio.TaskGroup() as group:
        group.create_task(trial.retrier.run("first", "h", Ticket((0,)), asking("first", busy(60.0))))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        group.create_task(trial.retrier.run("other", "elsewhere", Ticket((2,)), asking("other")))
        await trial.retrier.run("second", "h", Ticket((1,)), asking("second"))
    assert order[0] == "first at 1000"
    assert {"first at 1060", "second at 1060"} < set(order[1:])
    assert [wait for wait in trial.time.waits if wait] == [60.0, 60.0]  # of the first and the second
    assert trial.closed() == [60.0]


async def test_requests_refused_together_are_reported_once() -> None:
    trial = Trial()
    begun = asyncio.Event()

    async def refused_once(state: dict[str, int] = {}) -> None:  # noqa: B006 - shared by the eight
        state["tries"] = state.get("tries", 0) + 1
        if state["tries"] <= 8:
            if state["tries"] == 8:
                begun.set()
            await begun.wait()
            raise busy(10.0)

    async with asyncio.TaskGroup() as group:
        for number in range(8):
            group.create_task(trial.retrier.run("blob", "h", Ticket((number,)), refused_once))
    assert trial.closed() == [10.0]


async def test_a_host_that_has_too_much_to_do_gets_fewer_requests_and_more_again_later() -> None:
    trial = Trial(jobs=16)
    host = trial.retrier.hosts.host("h")
    peaks: list[int] = []

    async def round_of(count: int, failure: HangarError | None) -> None:
        active = 0
        peaks.append(0)

        async def once() -> None:
            nonlocal active, failure
            active += 1
            peaks[-1] = max(peaks[-1], active)
            for _ in range(3):
                await asyncio.sleep(0)
            active -= 1
            if failure is not None:
                error, failure = failure, None
                raise error

        async with asyncio.TaskGroup() as group:
            for number in range(count):
                group.create_task(trial.retrier.run("blob", "h", Ticket((number,)), once))

    await round_of(40, None)
    assert peaks[-1] == 16
    await round_of(16, busy(1.0))
    assert host.limit == 8
    await round_of(16, RegistryError("busy", host="h", status=503))
    assert host.limit < 8
    await round_of(16, NetworkError("refused", host="h"))
    before = host.limit
    await round_of(16, NetworkError("broke", host="h", gained=10))  # the line, and not the host
    assert host.limit >= before
    await round_of(4, None)
    narrow = host.limit
    await round_of(200, None)
    assert narrow < host.limit <= 16
    await round_of(200, None)
    await round_of(40, None)
    assert peaks[-1] == 16
