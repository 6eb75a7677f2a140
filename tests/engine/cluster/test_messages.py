"""Everything that goes to another process comes out as it went in."""

from __future__ import annotations

import pytest

from hangar_async.engine.cluster.messages import decode, encode
from hangar_async.engine.copy.executor import PlannedCopy
from hangar_async.engine.limits.queue import planning_rank
from hangar_async.engine.pull.plan import WholePlanner
from hangar_async.errors import HangarError, NetworkError, NotFound, RegistryError, SourceError
from hangar_async.oci import PlatformSelector, Reference
from tests.engine.copy.rig import open_source
from tests.fakes.images import library
from tests.fakes.registry import FakeRegistry


@pytest.mark.parametrize(
    "error",
    [
        RegistryError("no", host="reg.lan", status=429, retry_after=7.0),
        SourceError("cut", failure=NetworkError("cut", host="reg.lan", transient=False, gained=3)),
        NotFound("gone", host="reg.lan", status=404, advice="look"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_stays_as_it_is(error: HangarError) -> None:
    found = decode(encode(error))
    for one in (error, found):
        one.__dict__.pop("failure", None)
    assert (type(found), found.args, found.__dict__) == (type(error), error.args, error.__dict__)


async def test_plans_stay_as_they_are(fake_registry: FakeRegistry) -> None:
    async with open_source() as source:
        planner = WholePlanner(source.documents, PlatformSelector.parse(["all"]), False, 6)
        for name, built in library().items():
            fake_registry.add(f"{name}:1", built)
            image = Reference(fake_registry.address, name, "1")
            root = await source.documents.root(image, planning_rank(0))
            work = PlannedCopy(image, image, 3, await planner.plan(image, root, planning_rank(0)))
            found: PlannedCopy = decode(encode(work))
            assert (found.plan.image, found.number, found.is_within) == (work.plan.image, 3, True), name
            assert found.plan.image.documents == work.plan.image.documents
            assert found.plan.needed() == work.plan.needed()
