"""The projects of a Harbor are made once each."""

from __future__ import annotations

from functools import partial

from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.push.projects import make_projects
from hangar_async.oci import Reference
from hangar_async.registry.client import RegistryClient
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.registry import FakeRegistry


async def test_each_project_is_made_once(harbor: Harbor, pushable_registry: FakeRegistry) -> None:
    address = pushable_registry.address
    settings = RegistrySettings(username="admin", password=PASSWORD)
    async with RegistryClient(settings, username_for=address) as client:
        limited = LimitedClient(client, Retrier(JobLimits(1, 6, 6), RetryPolicy(), ignore))
        targets = [Reference.parse(f"{address}/{name}:1") for name in ("one/a", "one/b", "library/c", "two/d/e")]
        make = partial(make_projects, client, limited, targets, https=False, public=False)
        await make()
        assert set(harbor.projects) == {"library", "one", "two"}
        await make()
    assert len(pushable_registry.asked("/api/", "POST")) == 2
