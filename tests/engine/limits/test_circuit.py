"""Pauses and probes of a host that gives no answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from hangar_async.engine.events import HostReached, HostUnreachable, Retrying
from hangar_async.engine.limits.circuit import Circuit
from hangar_async.errors import HangarError, NetworkError, RegistryError
from tests.engine.limits.rig import POLICY, Trial, busy, unreachable
from tests.fakes.clock import turns_until

PAUSES = (2.0, 5.0, 10.0, 20.0, 30.0)


class Line:
    """A circuit, and a clock that the test sets; the requests have numbers."""

    def __init__(self, max_wait: float = 3600.0) -> None:
        self.now, self.number = 1000.0, 0
        policy = replace(POLICY, max_wait=max_wait)
        self.circuit = Circuit(policy, lambda: self.now, lambda: self.number)

    def begin(self) -> int:
        self.number += 1
        self.circuit.begin(self.number)
        return self.number

    def fail(self, number: int | None = None) -> bool:
        number = self.begin() if number is None else number
        began = self.circuit.failed(number)
        self.circuit.end(number)
        return began

    def opened(self) -> Line:
        assert [self.fail() for _ in range(3)] == [False, False, True]
        return self


def test_three_failures_in_a_row_open_it() -> None:
    line = Line()
    assert not line.fail()
    assert not line.fail()
    assert not line.circuit.answered(line.begin())
    line.opened()
    assert not line.circuit.is_closed
    assert not line.circuit.allows
    assert line.circuit.pause == 2.0


def test_after_each_pause_there_is_one_probe() -> None:
    line = Line()
    line.circuit.reached()
    line.opened()
    for pause in (*PAUSES, 30.0, 30.0):
        assert line.circuit.pause == pause
        line.now += pause
        assert line.circuit.allows
        probe = line.begin()
        assert not line.circuit.allows
        assert line.fail(probe)
    assert line.circuit.waited == 2 + 5 + 10 + 20 + 30 + 30 + 30
    line.now += 30
    assert line.circuit.answered(line.begin())
    assert line.circuit.is_closed
    assert line.circuit.allows
    line.opened()
    assert line.circuit.pause == 2.0


def test_requests_from_before_it_opened_or_closed_say_nothing() -> None:
    line = Line()
    line.circuit.reached()
    early = [line.begin() for _ in range(8)]
    line.opened()
    assert not any(line.fail(number) for number in early[:4])
    assert not line.circuit.answered(early[4])
    line.now += 2
    probe = line.begin()
    assert not any(line.fail(number) for number in early[4:6])
    assert line.circuit.answered(probe)
    assert not any(line.fail(number) for number in early[5:])
    assert line.circuit.is_closed


def test_an_answer_that_begins_during_the_probe_closes_it() -> None:
    line = Line().opened()
    assert not line.circuit.reached()  # over an earlier connection
    line.now += 2
    probe = line.begin()
    assert line.circuit.reached()
    assert line.circuit.is_closed
    assert not line.fail(probe)


async def test_a_probe_that_is_cancelled_lets_the_next_one_go() -> None:
    line = Line().opened()
    line.now += 2
    probe = line.begin()
    waiting = asyncio.create_task(line.circuit.probe_ended())
    await asyncio.sleep(0)
    assert not waiting.done()
    line.circuit.end(probe)
    await waiting
    assert line.circuit.allows


def test_a_host_that_never_answered_gets_two_probes() -> None:
    line = Line()
    assert line.circuit.longest == 7.0
    line.opened()
    for last in (False, True):
        assert not line.circuit.exhausted
        line.now += line.circuit.pause
        assert line.fail()
        assert line.circuit.exhausted is last


def test_all_pauses_and_probes_of_a_run_end_in_sum() -> None:
    line = Line(100.0)
    line.circuit.reached()
    line.opened()
    assert line.circuit.longest == 100.0
    for _ in range(2):
        line.now += line.circuit.pause + 30  # a probe that times out
        line.fail()
        assert not line.circuit.exhausted
    line.now += line.circuit.pause
    line.circuit.answered(line.begin())
    line.opened()
    assert line.circuit.exhausted is False
    line.now += line.circuit.pause + 30
    line.fail()
    assert line.circuit.exhausted


def test_without_time_for_a_pause_it_never_opens() -> None:
    line = Line(1.0)
    assert not any(line.fail() for _ in range(20))
    assert line.circuit.is_closed


@pytest.mark.parametrize("missing", ["connection", "answer"])
async def test_a_host_that_is_away_is_waited_for_and_told_once(missing: str) -> None:
    trial = Trial(jobs=4)
    assert await trial.run() == "done"
    failures = iter([unreachable(missing=missing) for _ in range(3)])
    begun: list[float] = []

    async def request() -> None:
        begun.append(trial.time.now)
        if (failure := next(failures, None)) is not None:
            raise failure

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(trial.ask(request, rank=number))
    assert [event for event in trial.events if not isinstance(event, Retrying)] == [
        HostUnreachable("h", "refused", 3600.0), HostReached("h")
    ]  # fmt: skip
    assert len(begun) == 23


async def test_an_outage_uses_up_no_try() -> None:
    trial = Trial()
    assert await trial.run() == "done"
    assert await trial.run(*(unreachable() for _ in range(40))) == "done"
    with pytest.raises(NetworkError):
        await trial.run(*(unreachable(missing="answer") for _ in range(40)))


async def test_a_host_that_stays_away_is_given_up_and_fails_all_at_once() -> None:
    trial = Trial()
    assert await trial.run() == "done"
    with pytest.raises(NetworkError, match=r"refused; it gave no answer for 35\d\d s") as caught:
        await trial.run(*(unreachable() for _ in range(1000)))
    assert not caught.value.transient
    tries = trial.tries
    with pytest.raises(NetworkError, match="gave no answer"):
        await trial.run()
    assert trial.tries == tries
    assert await trial.run(host="other") == "done"
    assert [type(event) for event in trial.events if not isinstance(event, Retrying)] == [HostUnreachable, HostReached]


async def test_a_host_that_never_answered_fails_soon() -> None:
    trial = Trial()
    with pytest.raises(NetworkError, match="refused; it gave no answer in this run"):
        await trial.run(*(unreachable() for _ in range(1000)))
    assert trial.tries == 5
    assert trial.time.waits[2:] == [2.0, 5.0]


async def test_without_retries_a_request_that_finds_nobody_fails() -> None:
    trial = Trial(replace(POLICY, retries=0))
    with pytest.raises(NetworkError):
        await trial.run(unreachable())
    assert trial.tries == 1


async def test_a_mirror_that_is_away_is_passed_over_at_once() -> None:
    trial = Trial()
    for _ in range(5):
        with pytest.raises(NetworkError):
            await trial.run(*(unreachable() for _ in range(3)), alternatives=True)
    assert trial.tries == 1
    assert trial.time.waits == []


async def test_a_mirror_that_is_asked_as_a_registry_too_is_not_waited_for() -> None:
    trial = Trial()

    async def wait_in_vain() -> None:
        with pytest.raises(NetworkError, match="in this run"):
            await trial.run(*(unreachable() for _ in range(30)))

    async with asyncio.TaskGroup() as group:
        group.create_task(wait_in_vain())
        await turns_until(lambda: any(isinstance(event, HostUnreachable) for event in trial.events))
        with pytest.raises(NetworkError):
            await trial.run(alternatives=True)


@pytest.mark.parametrize("failure", [busy(0.0), RegistryError("no", host="h", status=404)])
async def test_any_answer_ends_the_pauses(failure: HangarError) -> None:
    trial = Trial()
    assert await trial.run() == "done"
    try:
        await trial.run(*(unreachable() for _ in range(4)), failure)
    except RegistryError:
        assert not failure.transient
    assert HostReached("h") in trial.events
    assert not trial.retrier.hosts.host("h").is_away
