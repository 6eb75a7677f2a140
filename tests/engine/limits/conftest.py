"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from tests.engine.limits.rig import IMAGE
from tests.fakes.registry import FakeRegistry, fake_registry


@pytest.fixture
async def origin() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as found:
        found.add("team/app:1", IMAGE)
        yield found


@pytest.fixture
async def mirror() -> AsyncIterator[FakeRegistry]:
    async with fake_registry() as found:
        found.add("cache/team/app:1", IMAGE)
        yield found
