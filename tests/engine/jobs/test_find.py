"""Repositories are found by the catalog, else by the API of Harbor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RegistrySettings
from hangar_async.engine.events import ignore
from hangar_async.engine.jobs import find
from hangar_async.engine.jobs.find import RepositoryFinder
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.errors import ContentError, NetworkError, RegistryError, Unauthorized
from hangar_async.jobfile.document import Place
from hangar_async.jobfile.jobs import Source
from hangar_async.registry.client import RegistryClient
from tests.engine.jobs.rig import RETRY, fill
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Close, Status
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.registry import FakeRegistry

HERE = Place("m.yaml", 1, 1)


@asynccontextmanager
async def finder_of(registry: FakeRegistry, username: str | None = "admin") -> AsyncIterator[RepositoryFinder]:
    settings = RegistrySettings(username=username, password=PASSWORD, retry=RETRY)
    async with RegistryClient(settings, username_for=registry.address) as client:
        retrier = Retrier(JobLimits(1, 6, 6), RETRY, ignore, FakeClock().clock)
        yield RepositoryFinder(LimitedClient(client, retrier), client, https=False)


async def names(registry: FakeRegistry, pattern: str, username: str | None = "admin") -> list[str]:
    async with finder_of(registry, username) as finder:
        return await finder.find(Source(registry.address, pattern, HERE), registry.address)


async def test_a_catalog_is_listed_once(fake_registry: FakeRegistry) -> None:
    fill(fake_registry, "team/app", "1")
    fill(fake_registry, "other", "1")
    async with finder_of(fake_registry) as finder:
        for pattern in ("team/*", "*"):
            source = Source(fake_registry.address, pattern, HERE)
            assert await finder.find(source, fake_registry.address) == ["other", "team/app"]
    assert len(fake_registry.asked("/_catalog")) == 1


async def test_a_harbor_lists_those_of_a_project(fake_registry: FakeRegistry) -> None:
    fake_registry.harbor = Harbor({"team": {}}, repositories=["a", "b", "../c", "B"])
    fake_registry.fail("/_catalog", Status(401), times=None)
    assert await names(fake_registry, "team/*") == ["team/a", "team/b"]
    with pytest.raises(Unauthorized):
        await names(fake_registry, "team/*", username=None)
    with pytest.raises(Unauthorized, match="the repositories of "):
        await names(fake_registry, "*/app")


async def test_a_registry_that_lists_none_says_so(fake_registry: FakeRegistry) -> None:
    fake_registry.fail("/_catalog", Status(404), times=None)
    with pytest.raises(RegistryError, match="the repositories of ") as caught:
        await names(fake_registry, "team/*")
    assert "name them one by one" in caught.value.advice


@pytest.mark.parametrize("fault", [Status(503), Close()])
async def test_a_catalog_that_fails_is_no_reason_to_look_elsewhere(
    fake_registry: FakeRegistry, fault: Status | Close
) -> None:
    fake_registry.fail("/_catalog", fault, times=None)
    with pytest.raises((RegistryError, NetworkError)):
        await names(fake_registry, "team/*")
    assert not fake_registry.asked("/api/")


async def test_too_many_are_refused(fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(fake_registry, "team/app", "1")
    monkeypatch.setattr(find, "_MOST", 1)
    with pytest.raises(ContentError, match="lists more than 1 repositories"):
        await names(fake_registry, "team/*")
