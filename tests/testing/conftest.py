"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fakes.pushes import Pushes
from tests.fakes.registry import FakeRegistry


@pytest.fixture
async def client(pushable_registry: FakeRegistry) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{pushable_registry.address}") as session:
        yield session


@pytest.fixture
def pushes(pushable_registry: FakeRegistry) -> Pushes:
    assert pushable_registry.pushes
    return pushable_registry.pushes
