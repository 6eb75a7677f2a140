"""What is tried again, after which wait, and what a registry's wish to be left alone does to all requests of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.events import Event, HostClosed, Retrying
from hangar_async.engine.limits.client import Retrier
from hangar_async.engine.limits.queue import Ticket
from hangar_async.errors import DigestMismatch, HangarError, NetworkError, RateLimited, RegistryError
from tests.fakes.clock import FakeClock

POLICY = RetryPolicy(retries=3, first=1.0, longest=3.0)


def busy(after: float | None = None, status: int = 429) -> RegistryError:
    return RegistryError("too many requests", host="h", status=status, retry_after=after)


class Trial:
    """Runs requests that fail as they are told to, without waiting."""

    def __init__(self, policy: RetryPolicy = POLICY, jobs: int = 8) -> None:
        self.time = FakeClock()
        self.events: list[Event] = []
        self.retrier = Retrier(jobs, policy, self.events.append, self.time.clock)
        self.tries = 0

    async def run(self, *errors: HangarError, host: str = "h") -> str:
        rest = list(errors)

        async def once() -> str:
            self.tries += 1
            if rest:
                raise rest.pop(0)
            return "done"

        return await self.retrier.run("blob", host, Ticket((0,)), once)

    def closed(self) -> list[float]:
        return [event.seconds for event in self.events if isinstance(event, HostClosed)]


async def test_what_recovers_is_tried_again() -> None:
    trial = Trial()
    assert await trial.run(NetworkError("cut", host="h"), RegistryError("busy", host="h", status=503)) == "done"
    assert trial.tries == 3
    first, second = trial.time.waits
    assert 0.5 <= first <= 1.0
    assert 1.0 <= second <= 2.0
    assert trial.events == [Retrying("blob", "cut", first, 1), Retrying("blob", "busy", second, 2)]


async def test_it_ends_with_the_last_error() -> None:
    trial = Trial()
    with pytest.raises(NetworkError, match="cut 3"):
        await trial.run(*(NetworkError(f"cut {number}", host="h") for number in range(9)))
    assert trial.tries == POLICY.retries + 1
    assert max(trial.time.waits) <= POLICY.longest


async def test_a_try_that_gained_bytes_uses_up_none() -> None:
    trial = Trial()
    gaining = [NetworkError("cut", host="h", gained=1) for _ in range(50)]
    assert await trial.run(*gaining) == "done"
    assert max(trial.time.waits) <= POLICY.first
    failing = [NetworkError("cut", host="h") for _ in range(POLICY.retries)]
    assert await trial.run(*failing, NetworkError("cut", host="h", gained=5), *failing) == "done"
    with pytest.raises(NetworkError):
        await trial.run(*failing, NetworkError("cut", host="h", gained=5), *failing, *failing)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_what_cannot_recover_is_not_tried_again(status: int) -> None:
    trial = Trial()
    with pytest.raises(RegistryError):
        await trial.run(RegistryError("no", host="h", status=status))
    assert trial.tries == 1
    assert trial.time.waits == []


async def test_a_wrong_digest_is_tried_once_more_and_one_of_bytes_kept_for_nothing() -> None:
    trial = Trial()
    with pytest.raises(DigestMismatch):
        await trial.run(*(DigestMismatch("wrong") for _ in range(9)))
    assert trial.tries == 2
    trial = Trial()
    with pytest.raises(DigestMismatch):
        await trial.run(DigestMismatch("kept", stale=True), *(DigestMismatch("wrong") for _ in range(9)))
    assert trial.tries == 3


async def test_a_fault_of_the_program_is_not_tried_again() -> None:
    tries = 0

    async def once() -> None:
        nonlocal tries
        tries += 1
        raise KeyError("x")

    with pytest.raises(KeyError):
        await Trial().retrier.run("blob", "h", Ticket((0,)), once)
    assert tries == 1


@pytest.mark.parametrize(("asked", "waited"), [(7.0, 7.0), (899.0, 899.0)])
async def test_the_registry_says_how_long_to_wait(asked: float, waited: float) -> None:
    trial = Trial()
    assert await trial.run(busy(asked), busy(asked, status=503)) == "done"
    assert trial.time.waits == trial.closed() == [waited, waited]
    assert not [event for event in trial.events if isinstance(event, Retrying)]


@pytest.mark.parametrize("asked", [0.0, -5.0])
async def test_at_once_is_taken_at_its_word_the_first_time(asked: float) -> None:
    trial = Trial()
    assert await trial.run(busy(asked)) == "done"
    assert sum(trial.time.waits) == 0.0


async def test_without_a_word_the_pauses_grow() -> None:
    trial = Trial()
    assert await trial.run(*(busy() for _ in range(4))) == "done"
    for wait, longest in zip(trial.closed(), (1.0, 2.0, 3.0, 3.0), strict=True):
        assert longest / 2 <= wait <= longest


async def test_waiting_for_a_quota_uses_up_no_try() -> None:
    trial = Trial()
    assert await trial.run(*(busy(5.0) for _ in range(20))) == "done"
    assert trial.tries == 21


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


async def test_what_was_refused_together_is_told_of_once() -> None:
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
    host = trial.retrier.host("h")
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


async def test_cancelling_one_that_waits_disturbs_nobody() -> None:
    trial = Trial(jobs=1)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(trial.run(*(busy(20.0) for _ in range(100))))
        for _ in range(10):
            await asyncio.sleep(0)
        waiting.cancel()
    assert waiting.cancelled()
    assert await trial.run() == "done"
