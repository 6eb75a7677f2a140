"""Planned copies are done by any executor."""

from __future__ import annotations

from hangar_async.engine.copy.executor import LocalExecutor, PlannedCopy
from hangar_async.engine.copy.sides import Registries, Sides
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.limits.queue import planning_rank
from hangar_async.engine.pull.plan import WholePlanner
from hangar_async.oci import PlatformSelector, Reference
from hangar_async.state.hints import NO_STATE
from hangar_async.testing.images import index
from tests.engine.loading import tagged
from tests.engine.test_mirror import options
from tests.fakes.images import ARM64, small
from tests.fakes.registry import FakeRegistry


async def test_a_plan_is_carried_out_elsewhere(fake_registry: FakeRegistry, pushable_registry: FakeRegistry) -> None:
    """The process that copies has neither the list nor the documents but for those of the plan."""
    built = index([small("app"), small("arm", platform=ARM64)])
    fake_registry.add("app:1", built)
    source, target = (Reference(one.address, "app", "1") for one in (fake_registry, pushable_registry))
    settings = options(fake_registry, pushable_registry, "SOURCE/app:1")
    names = Registries(frozenset({source.registry}), frozenset({target.registry}))
    async with Sides.between(settings, names, ignore, lambda _: None, Clock(), NO_STATE, 1) as sides:
        planner = WholePlanner(sides.documents, PlatformSelector.parse(["all"]), False, 6)
        root = await sides.documents.root(source, planning_rank(0))
        work = PlannedCopy(source, target, 0, await planner.plan(source, root, planning_rank(0)))
    fake_registry.requests.clear()
    async with Sides.between(settings, names, ignore, lambda _: None, Clock(), NO_STATE, 1) as sides:
        sides.expect([(source, target)], push=True)
        outcome = await LocalExecutor(sides, 6).copy(work)
    assert (outcome.state, outcome.digest, outcome.size) == ("pushed", built.digest, work.plan.image.size)
    assert await tagged(pushable_registry.content, "app:1") == built.digest
    assert fake_registry.asked("/manifests/") == []
