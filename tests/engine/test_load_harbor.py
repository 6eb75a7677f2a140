"""`load` into a Harbor, where nothing can be pushed before its project is there."""

from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NotFound, Unauthorized
from tests.engine.forms import Saved
from tests.engine.loading import run_load, tagged
from tests.fakes.auth import Basic
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.registry import FakeRegistry

ADMIN = Environment(destinations=RegistrySettings(username="admin", password=PASSWORD))
OTHER = Environment(destinations=RegistrySettings(username="other", password="x"))


@pytest.fixture
def harbor(pushable_registry: FakeRegistry) -> Harbor:
    pushable_registry.harbor = Harbor({"library": {}})
    pushable_registry.auth = Basic(dict(pushable_registry.harbor.users))
    return pushable_registry.harbor


@pytest.mark.parametrize("public", [False, True])
async def test_projects_that_are_missing_are_made(
    harbor: Harbor, public: bool, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    where = f"{pushable_registry.address}/mirror"
    keywords: dict[str, Any] = {"harbor": True, "harbor_https": False, "harbor_public": public, "environment": ADMIN}
    report = await run_load(tmp_path, everything.at("gzip"), where, images=["multi", "oci:1"], **keywords)
    assert [str(outcome.error) for outcome in report.failed] == []
    assert harbor.projects["mirror"] == {"public": "true" if public else "false"}
    assert await tagged(pushable_registry.content, "mirror/multi:1") is not None
    assert len(pushable_registry.asked("/api/", "POST")) == 1
    # What is there is asked for, and not made again.
    await run_load(tmp_path, everything.at("gzip"), where, **keywords)
    assert len(pushable_registry.asked("/api/", "POST")) == 1


async def test_without_being_told_nothing_is_made(
    harbor: Harbor, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    where = f"{pushable_registry.address}/mirror"
    report = await run_load(tmp_path, everything.at("gzip"), where, images=["multi"], environment=ADMIN)
    assert isinstance(report.failed[0].error, NotFound)
    assert "make it there first" in report.failed[0].error.advice
    assert list(harbor.projects) == ["library"]


async def test_who_may_not_make_projects(
    harbor: Harbor, everything: Saved, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    """No image can go there: the load ends before the first one; a project that is there is enough."""
    keywords: dict[str, Any] = {"harbor": True, "harbor_https": False, "environment": OTHER, "images": ["multi"]}
    with pytest.raises(Unauthorized, match="Only system admin"):
        await run_load(tmp_path, everything.at("gzip"), f"{pushable_registry.address}/mirror", **keywords)
    assert not pushable_registry.asked("/blobs/")
    assert (await run_load(tmp_path, everything.at("gzip"), pushable_registry, **keywords)).status == 0
    assert "mirror" not in harbor.projects
