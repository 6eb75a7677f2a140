"""Loads of random images into a registry on which something goes wrong, beside a plain model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from hangar_async.engine.reports import LoadReport
from hangar_async.errors import NetworkError, RateLimited
from tests.failed_list import names_in
from tests.model.expected import Answer
from tests.model.loads import LoadModel, LoadPlan, LoadScene, load_plans
from tests.model.plans import JOBS, examples
from tests.model.rig import cancelled, run_scene


def check_report(scene: LoadScene, report: LoadReport) -> None:
    """Compare a report with the model."""
    plan, registry = scene.plan, scene.registry
    assert [outcome.image.name for outcome in report.outcomes] == [image.name for image in plan.selected]
    for image, outcome, expected in zip(plan.selected, report.outcomes, LoadModel(plan).outcomes(), strict=True):
        if outcome.error is None:
            assert expected.answer != Answer.NO, f"{image} was loaded, against {expected}"
            assert outcome.state == ("present" if image in plan.present_images else "pushed")
            assert outcome.digest == image.built.digest
        else:
            assert expected.answer != Answer.YES, f"{image}: {outcome.error}"
            assert outcome.error.reason in expected.reasons, f"{image}: {outcome.error!r}, against {expected}"
            assert outcome.error.advice
    assert report.status == bool(report.failed)
    failed = [outcome.image.name for outcome in report.failed]
    assert (scene.place / "failed.txt").exists() == bool(failed)
    assert not failed or names_in(scene.place / "failed.txt") == failed
    assert registry.pushes is not None
    if plan.state == "well" and report.status == 0:
        # An upload that is given up at the moment at which it is opened stays open at the registry.
        assert registry.pushes.sessions == {}


def check_target(scene: LoadScene, report: LoadReport | None) -> None:
    """Check that each tag names a complete image, and that there is one for each that was loaded."""
    failed = {outcome.image.name for outcome in report.failed} if report else set()
    held = scene.held()
    for image in scene.plan.selected:
        tags = scene.tags(image)
        if report is not None and image.name not in failed:
            assert tags
        if tags:
            assert tags == {image.built.digest}
            needed = {str(digest) for digest in (*image.built.documents, *image.built.blobs)}
            assert {(image.target, digest) for digest in needed} <= held
    assert list(scene.spool.iterdir()) == []


async def check_second_load(scene: LoadScene) -> None:
    """Load again without faults: everything is there then, and no blob was sent that was there, or twice."""
    scene.repair()
    report = await scene.load()
    assert [outcome.error for outcome in report.outcomes] == [None] * len(scene.plan.selected)
    check_target(scene, report)
    uploads = scene.uploads()
    assert not scene.before.intersection(uploads)
    assert set(Counter(uploads).values()) <= {1}
    if scene.plan.mounts:
        assert set(Counter(digest for _, digest in uploads).values()) <= {1}


async def check_load(scene: LoadScene) -> None:
    scene.break_down()
    report = None
    try:
        report = await scene.load()
    except RateLimited:
        assert scene.plan.state == "limited"
    except NetworkError:
        assert scene.plan.state == "dying"
    else:
        check_report(scene, report)
    check_target(scene, report)
    await check_second_load(scene)


async def check_cancelled_load(scene: LoadScene) -> None:
    scene.break_down()
    assert scene.plan.cancel is not None
    report = await cancelled(scene, scene.plan.cancel, scene.load)
    if report is not None:
        check_report(scene, report)
    check_target(scene, report)
    await check_second_load(scene)


def run_plan(plan: LoadPlan, check: Callable[[LoadScene], Awaitable[None]]) -> None:
    run_scene(lambda place: LoadScene(place=place, seed=plan.seed, plan=plan), check)


@pytest.mark.parametrize("jobs", JOBS)
@examples(5)
@given(plan=load_plans())
def test_a_load_is_as_the_model_says(jobs: int, plan: LoadPlan) -> None:
    run_plan(replace(plan, jobs=jobs), check_load)


@examples(10)
@given(plan=load_plans(state=st.just("well"), cancel=st.tuples(st.integers(1, 100), st.integers(0, 40))))
def test_a_load_that_is_cancelled_leaves_no_incomplete_tag(plan: LoadPlan) -> None:
    run_plan(plan, check_cancelled_load)
