"""Saves of random lists from registries on which something goes wrong, beside a plain model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from hangar_async.engine.reports import Report
from hangar_async.errors import StorageError
from tests.model.plans import JOBS, Plan, examples, plans, states
from tests.model.rig import World, cancelled, check_files, check_report, check_second_run, images_of, run_scene, saved

#: After so many requests and events, and so many turns.
CANCELLATIONS = st.tuples(st.integers(1, 120), st.integers(0, 40))


async def check_end(world: World, report: Report | None) -> None:
    """Check a run that has ended, as it is where nothing is told of it, and then one without faults."""
    if report is not None:
        check_report(world, report)
    await check_files(world, report)
    for archive in world.archives:
        images = await images_of(archive)
        assert report is None or images == saved(report)
    again = await check_second_run(world, world.save)
    await check_files(world, again)
    for archive in world.archives:
        assert await images_of(archive) == saved(again)


async def check_save(world: World) -> None:
    world.break_down()
    report = await world.save()
    assert len(world.archives) == (report.output is not None)
    await check_end(world, report)


async def check_cancelled_save(world: World) -> None:
    world.break_down()
    assert world.plan.cancel is not None
    await check_end(world, await cancelled(world, world.plan.cancel, world.save))


async def check_save_without_room(world: World) -> None:
    world.break_down()
    try:
        report: Report | None = await world.save()
    except StorageError:
        report = None
    await check_end(world, report)


async def check_sync(world: World) -> None:
    earlier = saved(await world.sync(world.plan.earlier_lines)) if world.plan.earlier_lines else set()
    world.break_down()
    cancel = world.plan.cancel
    report = await cancelled(world, cancel, world.sync) if cancel else await world.sync()
    if report is not None:
        check_report(world, report)
    await check_files(world, report)
    if (world.cache / "index.json").exists() and (report or earlier):
        images = await images_of(world.cache)
        assert images >= earlier
        assert report is None or images == earlier | saved(report)
    again = await check_second_run(world, world.sync)
    await check_files(world, again)
    if earlier or saved(again):
        assert await images_of(world.cache) == earlier | saved(again)


def run_plan(plan: Plan, check: Callable[[World], Awaitable[None]]) -> None:
    run_scene(lambda place: World(place=place, seed=plan.seed, plan=plan), check)


@pytest.mark.parametrize("jobs", JOBS)
@examples(6)
@given(plan=plans())
def test_a_save_is_as_the_model_says(jobs: int, plan: Plan) -> None:
    run_plan(replace(plan, jobs=jobs), check_save)


@pytest.mark.parametrize("jobs", JOBS)
@examples(5)
@given(plan=plans(cancel=CANCELLATIONS))
def test_a_save_that_is_cancelled_leaves_nothing_but_blobs(jobs: int, plan: Plan) -> None:
    run_plan(replace(plan, jobs=jobs), check_cancelled_save)


@examples(10)
@given(plan=plans(disk_failure=st.integers(0, 150)))
def test_a_save_whose_disk_fails_leaves_nothing_but_blobs(plan: Plan) -> None:
    run_plan(plan, check_save_without_room)


@examples(10)
@given(plan=plans(hosts=states("limited", "dying"), earlier=st.frozensets(st.integers(0, 7))))
def test_a_sync_is_as_the_model_says(plan: Plan) -> None:
    run_plan(plan, check_sync)


@examples(6)
@given(plan=plans(hosts=states("dying"), earlier=st.frozensets(st.integers(0, 7)), cancel=CANCELLATIONS))
def test_a_sync_that_is_cancelled_keeps_the_images_of_before(plan: Plan) -> None:
    run_plan(plan, check_sync)
