"""Pauses of a registry, its number of requests at once, and the limit of the rate."""

from __future__ import annotations

import asyncio
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial

import pytest
from hypothesis import settings, strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, precondition, rule

from hangar_async.config.registries import HostLimits, RetryPolicy
from hangar_async.engine.events import HostClosed
from hangar_async.engine.limits.client import Retrier
from hangar_async.engine.limits.hosts import Asked, Clock
from hangar_async.engine.limits.queue import Ticket
from hangar_async.errors import DigestMismatch, HangarError, NetworkError, RateLimited, RegistryError, SourceError
from tests.engine.limits.rig import POLICY, Trial, busy, permits, unreachable
from tests.fakes.clock import turns_until

#: A machine of many steps takes long where other work takes the processors.
pytestmark = pytest.mark.timeout(140)


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


class ManualClock:
    """A clock that a test sets; it wakes those whose time has come."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    async def sleep(self, seconds: float) -> None:
        future = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, future))
        await future

    def advance(self, seconds: float) -> None:
        self.now += seconds
        for _, future in [sleeper for sleeper in self._sleepers if sleeper[0] <= self.now]:
            if not future.done():
                future.set_result(None)
        self._sleepers = [sleeper for sleeper in self._sleepers if not sleeper[1].done()]

    @property
    def clock(self) -> Clock:
        return Clock(lambda: self.now, lambda: self.now, self.sleep)


@dataclass(eq=False)
class Job:
    """A request of a job: what it asks, and its present try, if one runs."""

    asked: Asked
    ticket: Ticket
    task: asyncio.Task[None] | None = None
    outcome: asyncio.Future[HangarError | None] | None = None
    #: The hosts of which the present try is the probe.
    probes: frozenset[str] = frozenset()


class HostsMachine(RuleBasedStateMachine):
    """Jobs at hosts that come and go, lead to others, refuse and answer, in any order, with cancellations."""

    NAMES = ("one", "two")
    jobs: Bundle[Job] = Bundle("jobs")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.time = ManualClock()
        self.all: list[Job] = []
        self.count = 0

    def settle(self) -> None:
        """Let all go on until each waits for the clock, a permit or the end of its request."""
        for _ in range(1000):
            self.loop.run_until_complete(asyncio.sleep(0))
            if not self.loop._ready:  # type: ignore[attr-defined]
                return
        raise AssertionError("they go round and round")

    @initialize(count=st.integers(1, 4), retries=st.integers(0, 4), known=st.booleans())
    def start(self, count: int, retries: int, known: bool) -> None:
        self.count = count
        policy = RetryPolicy(retries=retries, first=1.0, longest=3.0, max_wait=200.0)
        self.retrier = Retrier(permits(count), policy, lambda event: None, self.time.clock)
        self.hosts = self.retrier.hosts
        for name in (*self.NAMES, "storage"):
            if known:
                self.hosts.reached(name, 200)

    @rule(
        target=jobs, name=st.sampled_from(NAMES), kind=st.sampled_from(["blobs", "documents"]), rank=st.integers(0, 5)
    )
    def arrive(self, name: str, kind: str, rank: int) -> Job:
        job = Job(Asked(name, kind), Ticket((rank,)))

        async def once() -> None:
            names = {host.name for host in self.hosts.hosts_of(job.asked)}
            job.probes = frozenset(name for name in names if self.hosts.host(name).is_away)
            job.outcome = self.loop.create_future()
            try:
                failure = await job.outcome
            finally:
                job.outcome, job.probes = None, frozenset()
            if failure is not None:
                raise failure

        async def work() -> None:
            with suppress(HangarError):
                await self.retrier.run("it", name, job.ticket, once, kind=kind)

        self.all.append(job)
        job.task = self.loop.create_task(work())
        self.settle()
        return job

    def running(self) -> list[Job]:
        return [job for job in self.all if job.outcome is not None]

    @rule(name=st.sampled_from(NAMES), count=st.integers(3, 6))
    def arrive_together(self, name: str, count: int) -> None:
        for number in range(count):
            self.arrive(name, "documents", number)

    @precondition(lambda self: self.running())
    @rule(
        data=st.data(),
        how=st.sampled_from(["answer", "refused", "dropped", "cut", "busy", "overload", "gone", "wrong"]),
        elsewhere=st.booleans(),
    )
    def end(self, data: st.DataObject, how: str, elsewhere: bool) -> None:
        job = data.draw(st.sampled_from(self.running()))
        name = "storage" if elsewhere else job.asked.host
        failures: dict[str, HangarError | None] = {
            "answer": None,
            "refused": unreachable(name),
            "dropped": unreachable(name, "answer"),
            "cut": NetworkError("cut", host=name),
            "busy": busy(7.0, host=name),
            "overload": busy(None, 503, host=name),
            "gone": RegistryError("gone", host=name, status=404),
            "wrong": DigestMismatch("wrong"),
        }
        assert job.outcome is not None
        job.outcome.set_result(failures[how])
        self.settle()

    @rule(name=st.sampled_from(NAMES), count=st.integers(1, 4))
    def go_away(self, name: str, count: int) -> None:
        """Let a host refuse some connections, one after the other."""
        for _ in range(count):
            if (job := next((job for job in self.running() if job.asked.host == name), None)) is not None:
                assert job.outcome is not None
                job.outcome.set_result(unreachable(name))
                self.settle()
                self.time.advance(1.0)
                self.settle()

    @rule(job=jobs)
    def cancel(self, job: Job) -> None:
        assert job.task is not None
        job.task.cancel()
        self.settle()

    @precondition(lambda self: self.running())
    @rule(data=st.data())
    def end_and_cancel_those_that_wait(self, data: st.DataObject) -> None:
        """Cancel all others at the moment at which a permit or a probe is free."""
        job = data.draw(st.sampled_from(self.running()))
        failure = data.draw(st.sampled_from([None, unreachable(job.asked.host)]))
        waiting = [other.task for other in self.all if other.task is not None and other.outcome is None]
        cancelled = [task for task in waiting if data.draw(st.booleans())]
        assert job.outcome is not None
        job.outcome.set_result(failure)
        for task in cancelled:
            task.cancel()
        self.settle()

    @rule(job=jobs, rank=st.integers(0, 5))
    def raise_rank(self, job: Job, rank: int) -> None:
        self.retrier.raise_rank(job.ticket, (rank,))

    @rule(seconds=st.sampled_from([0.5, 2.0, 5.0, 10.0, 30.0]))
    def advance(self, seconds: float) -> None:
        self.time.advance(seconds)
        self.settle()

    @invariant()
    def each_permit_is_of_a_request(self) -> None:
        if not self.count:
            return
        running = self.running()
        assert repr(self.hosts.queue).startswith(f"<RequestQueue {len(running)} of {self.count} held")
        for name in self.NAMES:
            assert self.hosts.host(name).queue.active == sum(job.asked.host == name for job in running)
        assert 0 <= self.hosts.host("storage").queue.active <= len(running)

    @invariant()
    def a_host_has_one_probe_at_most(self) -> None:
        probes = Counter(name for job in self.running() for name in job.probes)
        assert all(count == 1 for count in probes.values())

    def teardown(self) -> None:
        """All that wait are granted or failed in the end, when hosts answer."""
        for _ in range(1000):
            for job in self.running():
                assert job.outcome is not None
                job.outcome.set_result(None)
            self.time.advance(30.0)
            self.settle()
            if all(job.task is None or job.task.done() for job in self.all):
                break
        self.loop.close()
        assert all(job.task is None or job.task.done() for job in self.all)
        assert not self.count or f"0 of {self.count} held, 0 queued" in repr(self.hosts.queue)


TestHosts = HostsMachine.TestCase
TestHosts.settings = settings(deadline=None, max_examples=120, stateful_step_count=50)


async def test_a_registry_with_a_limit_of_its_own_gets_no_more_requests_at_once() -> None:
    trial = Trial(replace(POLICY, hosts={"small.lan": HostLimits(requests=2), "h": HostLimits(requests=100)}), jobs=8)
    most: dict[str, int] = {}
    now: Counter[str] = Counter()

    async def ask(host: str) -> None:
        async def request() -> None:
            now[host] += 1
            most[host] = max(most.get(host, 0), now[host])
            for _ in range(5):
                await asyncio.sleep(0)
            now[host] -= 1

        await trial.retrier.run("blob", host, Ticket((0,)), request)

    for host in ("small.lan", "h"):
        await asyncio.gather(*(ask(host) for _ in range(50)))
    assert most == {"small.lan": 2, "h": 8}
