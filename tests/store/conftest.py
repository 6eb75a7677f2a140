"""Fixtures of this room."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hangar_async.store.content import ContentStore, open_store
from tests.store.rig import NAMES


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[ContentStore]:
    """An open store, in a cache of its own."""
    async with open_store(tmp_path / "cache") as opened:
        yield opened


@pytest.fixture
def filled_cache(tmp_path: Path) -> Path:
    root = tmp_path / "saved-image-cache"
    for name in [*NAMES, "share/sha256/stranger", "f0/index.json", ".lock", ".partial/x"]:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    (root / "f1" / "blobs").mkdir()
    (root / "blobs").symlink_to("share")
    return root
