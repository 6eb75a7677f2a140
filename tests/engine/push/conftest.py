"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hangar_async.testing.images import attestation, index
from tests.engine.push.rig import Source
from tests.fakes.auth import Basic
from tests.fakes.harbor import Harbor
from tests.fakes.images import AMD64, ARM64, ARM_V7, small
from tests.fakes.registry import FakeRegistry, fake_registry


@pytest.fixture
def harbor(pushable_registry: FakeRegistry) -> Harbor:
    pushable_registry.harbor = Harbor({"library": {}})
    pushable_registry.auth = Basic(dict(pushable_registry.harbor.users))
    return pushable_registry.harbor


@pytest.fixture
async def several_images(tmp_path: Path) -> AsyncIterator[Source]:
    platforms = [small("app", platform=one) for one in (AMD64, ARM64, ARM_V7)]
    built = index([*platforms, attestation(platforms[1])])
    async with fake_registry() as served:
        served.content.add("app:v1", built)
        yield Source(tmp_path, served, built)
