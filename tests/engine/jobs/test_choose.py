"""The choice of a job is made of lists at the registries themselves."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.registries import Mirror, Mirrors, RegistrySettings, Route
from hangar_async.engine.events import ignore
from hangar_async.engine.jobs import choose as choose_module
from hangar_async.engine.jobs.choose import Chooser
from hangar_async.engine.jobs.report import RepositoryChoice
from hangar_async.errors import Unauthorized, UsageError
from hangar_async.jobfile.read import read
from hangar_async.registry import lists
from hangar_async.tags.rules import read_versions
from hangar_async.tags.version import Version
from hangar_async.threads import in_thread
from tests.engine.jobs.rig import SETTINGS, fill, options
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry

JOB = "- {name: apps, from: [SOURCE/team/app, SOURCE/team/other], tags: 'v*'}"


async def choose(
    directory: Path, jobs: str, source: FakeRegistry, target: FakeRegistry, **keywords: Any
) -> tuple[RepositoryChoice, ...]:
    made = options(directory, jobs, source, target, **keywords)
    job = (await in_thread(read, made.config, {})).jobs[0]
    async with Chooser.opened(made, [job], ignore, lambda text: None, FakeClock().clock) as chooser:
        return await chooser.choose(job)


async def test_one_repository_that_fails_leaves_the_others(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1 main")
    fake_registry.fail("/team/other/tags", Status(401), times=None)
    app, other = await choose(tmp_path, JOB, fake_registry, pushable_registry)
    assert (app.tags, app.error) == (("v1",), None)
    assert str(app.target) == f"{pushable_registry.address}/copies/app:latest"
    assert isinstance(other.error, Unauthorized)


async def test_a_mirror_is_not_asked_for_its_list(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    fill(fake_registry, "team/app", "v1 v2")
    fill(pushable_registry, "team/app", "v1")
    route = Route(fake_registry.address, (Mirror(pushable_registry.address),))
    environment = Environment(registries=RegistrySettings(mirrors=Mirrors((route,))), destinations=SETTINGS)
    job = JOB.replace(", SOURCE/team/other", "")
    (choice,) = await choose(tmp_path, job, fake_registry, pushable_registry, environment=environment)
    assert choice.tags == ("v1", "v2")
    assert not pushable_registry.asked("/tags/list")


async def test_a_blocked_registry_fails(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    route = Route(fake_registry.address, (), blocked=True)
    environment = Environment(registries=RegistrySettings(mirrors=Mirrors((route,))), destinations=SETTINGS)
    choices = await choose(tmp_path, JOB, fake_registry, pushable_registry, environment=environment)
    assert all(isinstance(choice.error, UsageError) for choice in choices)
    assert fake_registry.requests == []


@pytest.mark.parametrize("tags", ["", ", tags: {match: '*'}"])
async def test_without_rules_all_tags_but_signatures_are_chosen(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, tags: str
) -> None:
    fill(fake_registry, "team/app", f"v1 v2.0-rc1 sha256-{'0' * 64}.sig")
    job = f"- {{name: apps, from: SOURCE/team/app{tags}}}"
    (choice,) = await choose(tmp_path, job, fake_registry, pushable_registry)
    assert choice.tags == (("v1",) if tags else ("v1", "v2.0-rc1"))


async def test_repositories_of_a_pattern(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    for name in ("team/app-b", "team/app-a", "team/app-a/sub", "other"):
        fill(fake_registry, name, "v1")
    job = "- {name: apps, from: [SOURCE/team/app-*, SOURCE/none/*], to: 'TARGET/x/{1}'}"
    one, other, none = await choose(tmp_path, job, fake_registry, pushable_registry)
    assert [str(one.target), str(other.target)] == [f"{pushable_registry.address}/x/{name}:latest" for name in "ab"]
    assert (one.tags, other.tags) == (("v1",), ("v1",))
    assert none.name == f"{fake_registry.address}/none/*"
    assert "matches none of the 4 repositories" in str(none.error)


async def test_a_page_of_tags_is_read_while_the_next_one_is_asked_for(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PAGE_TAGS", 2)
    fill(fake_registry, "team/app", "v1.0 v1.1 v1.2")
    asked: list[int] = []

    def reading(tags: Sequence[str], versions: dict[str, Version | None]) -> None:
        for _ in range(2_000):
            if len(fake_registry.asked("/tags/list")) == 2:
                break
            time.sleep(0.005)
        asked.append(len(fake_registry.asked("/tags/list")))
        read_versions(tags, versions)

    monkeypatch.setattr(choose_module, "read_versions", reading)
    job = "- {name: apps, from: SOURCE/team/app, tags: {newest: 2}}"
    (choice,) = await choose(tmp_path, job, fake_registry, pushable_registry)
    assert choice.tags == ("v1.1", "v1.2")
    assert asked == [2, 2]
