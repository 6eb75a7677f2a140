"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hangar_async.store.content import ContentStore, open_store
from tests.store.rig import fill_cache


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    """An open store, in a cache of its own."""
    async with open_store(tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def filled_cache(tmp_path: Path) -> Path:
    return fill_cache(tmp_path)
