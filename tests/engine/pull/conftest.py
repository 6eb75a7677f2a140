"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from hangar_async.engine.reports import Report
from tests.engine.pull.rig import app, bring
from tests.fakes.registry import FakeRegistry


@pytest.fixture
def app_lines(fake_registry: FakeRegistry) -> list[str]:
    """Three images, of the tag 1."""
    for number in range(3):
        fake_registry.add(f"app{number}:1", app(number))
    return [f"{fake_registry.address}/app{number}:1" for number in range(3)]


@pytest.fixture
async def warm_cache(
    fake_registry: FakeRegistry, app_lines: list[str], tmp_path: Path
) -> Callable[..., Awaitable[Report]]:
    """A run has saved the three images; saves the same or others again."""
    assert (await bring(tmp_path, *app_lines)).status == 0
    fake_registry.requests.clear()

    async def again(*images: str, **keywords: Any) -> Report:
        return await bring(tmp_path, *(images or app_lines), **keywords)

    return again
