"""The projects of a Harbor, and the repositories of an Amazon ECR, are made once each."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from hangar_async.config.creation import Creation
from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.config.target_options import LoadOptions, MirrorOptions
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.engine.push.projects import make_projects
from hangar_async.errors import UsageError
from hangar_async.oci import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.ecr import EcrRepositories
from tests.fakes.ecr import ECR, POLICY
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.registry import FakeRegistry


async def test_each_project_is_made_once(harbor: Harbor, pushable_registry: FakeRegistry) -> None:
    address = pushable_registry.address
    settings = RegistrySettings(username="admin", password=PASSWORD)
    async with RegistryClient(settings, username_for=address) as client:
        limited = LimitedClient(client, Retrier(JobLimits(1, 6, 6), RetryPolicy(), ignore))
        targets = [Reference.parse(f"{address}/{name}:1") for name in ("one/a", "one/b", "library/c", "two/d/e")]
        options = LoadOptions(source=Path("x"), destination=address, create=Creation("harbor", https=False))
        make = partial(make_projects, options, client, limited, targets)
        await make()
        assert set(harbor.projects) == {"library", "one", "two"}
        await make()
    assert len(pushable_registry.asked("/api/", "POST")) == 2


async def test_each_repository_of_an_ecr_is_made_once(ecr_api: str, tmp_path: Path) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text(POLICY)
    create = {ECR: await asyncio.to_thread(Creation, "ecr", immutable_tags=True, lifecycle=policy)}
    options = MirrorOptions(images=(), create=create)
    targets = [Reference.parse(name) for name in (f"{ECR}/aa:1", f"{ECR}/aa:2", f"{ECR}/b/c:1", "r.io/none:1")]
    async with RegistryClient(RegistrySettings()) as client:
        limited = LimitedClient(client, Retrier(JobLimits(1, 6, 6), RetryPolicy(), ignore))
        await make_projects(options, client, limited, targets)
        made = await EcrRepositories.opened(ECR)
        assert await made.names() == frozenset({"aa", "b/c"})
        assert made._client.get_lifecycle_policy(repositoryName="b/c")["lifecyclePolicyText"] == POLICY
        await make_projects(options, client, limited, [*targets, Reference.parse(f"{ECR}/dd:1")])
        assert await made.names() == frozenset({"aa", "b/c", "dd"})
        with pytest.raises(UsageError, match=r"r\.io is no registry of Amazon ECR"):
            await make_projects(MirrorOptions(images=(), create=Creation("ecr")), client, limited, targets[-1:])
