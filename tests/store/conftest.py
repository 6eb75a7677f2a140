"""Fixtures of this room."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hangar_async.store.content import ContentStore, open_store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    """An open store, in a cache of its own."""
    async with open_store(tmp_path / "cache") as opened:
        yield opened
