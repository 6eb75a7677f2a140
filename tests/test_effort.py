from __future__ import annotations

import time

import pytest

from hangar_async.effort import Meters, Stopwatch, WorkTimes
from tests.cli.samples import Clock


def test_waits_of_several_requests_at_once_count_once() -> None:
    clock = Clock()
    meters = Meters(clock)
    with meters.waiting():
        clock.now += 1
        with meters.waiting(), meters.waiting("reg.io"):
            clock.now += 2
        clock.now += 4
    clock.now += 8
    effort = meters.effort(WorkTimes())
    assert (effort.permits, effort.closed) == (7.0, {"reg.io": 2.0})


def test_the_most_requests_under_way_and_the_bytes_of_both_sides() -> None:
    meters = Meters(Clock())
    for begins in (True, True, False, True, False, False):
        meters.begin() if begins else meters.end()
    meters.repeats += 3
    times = WorkTimes()
    times.hashing.seconds = 1.5
    effort = meters.effort(times, {"a": (10, 1.0), "b": (5, 2.0)}, {"a": (1, 1.0)})
    assert (effort.most, effort.repeats, effort.hashing, effort.disk) == (2, 3, 1.5, 0.0)
    assert effort.moved == {"a": (11, 2.0), "b": (5, 2.0)}


def test_the_times_of_blocks_add_up_also_of_those_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([1.0, 3.0, 10.0, 10.5])
    monkeypatch.setattr(time, "monotonic", lambda: next(moments))
    watch = Stopwatch()
    with watch.timed():
        pass
    with pytest.raises(ValueError), watch.timed():
        raise ValueError
    assert watch.seconds == 2.5
