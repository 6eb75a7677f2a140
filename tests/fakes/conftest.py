"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from tests.fakes.registry import FakeRegistry
from tests.fakes.rig import DATA


@pytest.fixture
async def client(fake_registry: FakeRegistry) -> AsyncIterator[aiohttp.ClientSession]:
    fake_registry.content.add_blob("app", DATA)
    async with aiohttp.ClientSession(f"http://{fake_registry.address}") as session:
        yield session
