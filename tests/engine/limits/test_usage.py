"""The part of each image in the transfers of a run."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.engine.events import Event, ImageEnded
from hangar_async.engine.limits import usage as usage_module
from hangar_async.engine.limits.usage import Outcomes, Usage
from hangar_async.engine.load import load
from hangar_async.engine.reports import ImageOutcome
from hangar_async.errors import UsageError
from hangar_async.imagelist import Entry
from hangar_async.oci import Reference
from hangar_async.spooled import Spooled
from hangar_async.testing.images import layer
from tests.engine.loading import load_options
from tests.engine.rig import run
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

OUTCOME = ImageOutcome(Entry(Reference.parse("reg.example.com/app:1"), 1, "reg.example.com/app:1"))


async def test_seconds_are_those_with_a_request_under_way() -> None:
    now = [10.0]
    usage = Usage(lambda: now[0])
    ends = [asyncio.Event() for _ in range(3)]

    async def start(number: int, end: asyncio.Event) -> asyncio.Task[bool]:
        task = asyncio.create_task(usage.during((number, 1, -5), end.wait))
        await asyncio.sleep(0)
        return task

    async def stop(task: asyncio.Task[bool], end: asyncio.Event) -> None:
        end.set()
        await task

    first = await start(0, ends[0])
    now[0] = 11.0
    second, other = await start(0, ends[1]), await start(1, ends[2])
    now[0] = 13.0
    await stop(first, ends[0])
    now[0] = 14.0
    await stop(second, ends[1])
    now[0] = 20.0
    await stop(other, ends[2])
    now[0] = 21.0
    third = await start(0, ends[0])
    await stop(third, ends[0])
    assert [one.seconds for one in usage.all_measured([OUTCOME] * 3)] == [4.0, 9.0, 0.0]


def test_the_outcomes_have_what_they_took_and_the_places_of_their_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage_module, "KEPT", 1)
    usage = Usage()
    outcomes = Outcomes[ImageOutcome](usage, Disk())
    outcomes._spooled = Spooled(kept=1)
    for number in range(3):
        usage.count((number, 0), 10 + number)
    outcomes.put(0, OUTCOME)
    outcomes.put(2, replace(OUTCOME, error=UsageError("wrong")))
    outcomes.put(1, OUTCOME)
    assert [one.transferred for one in outcomes.sequence()] == [10, 11, 12]
    assert [one.ok for one in outcomes.sequence()] == [True, True, False]
    assert outcomes.failed == 1
    assert not usage._bytes.keys() - {0}


async def test_the_bytes_of_the_images_are_those_of_the_run(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    shared = layer({"shared": bytes(5_000)}, "none")
    for name in ("one", "two"):
        fake_registry.add(f"{name}:1", small(name, shared))
    fake_registry.add("three:1", small("three"))
    names = [f"{fake_registry.address}/{name}:1" for name in ("one", "two", "three", "none")]
    saved = await run(tmp_path, *names, destination=tmp_path / "out.tar.gz")
    moved = [outcome.transferred for outcome in saved.outcomes]
    assert sum(moved) == saved.traffic.fetched_bytes
    assert moved[0] > moved[1] + 4_000 > moved[2] > moved[3] == 0
    assert all(outcome.seconds > 0 for outcome in saved.outcomes)
    assert [outcome.size is None for outcome in saved.outcomes] == [False, False, False, True]
    events: list[Event] = []
    loaded = await load(load_options(tmp_path, tmp_path / "out.tar.gz", pushable_registry.address), events.append)
    assert sum(outcome.transferred for outcome in loaded.outcomes) == loaded.sent.uploaded_bytes > 0
    ended = {event.outcome.name: event.outcome for event in events if isinstance(event, ImageEnded)}
    assert {outcome.name: outcome.transferred for outcome in loaded.outcomes} == {
        name: outcome.transferred for name, outcome in ended.items()
    }


async def test_the_part_of_another_process_is_taken_and_added_once() -> None:
    now = [10.0]
    there, here = Usage(lambda: now[0]), Usage(lambda: now[0])
    there.count((0, 1), 70)
    here.count((0, 1), 5)

    async def request() -> None:
        now[0] += 2.0

    await there.during((0, 0), request)
    taken = there.take()
    assert (taken, there.take()) == ({0: (2.0, 70)}, {})
    here.add(taken)
    measured = here.measured(OUTCOME, 0)
    assert (measured.seconds, measured.transferred) == (2.0, 75)
