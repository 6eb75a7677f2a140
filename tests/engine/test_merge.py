"""New images beside those that a cache holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from hangar_async.engine.save import sync as sync_cache
from hangar_async.errors import StorageError
from hangar_async.layout import limits
from hangar_async.oci import graph
from hangar_async.threads import in_thread
from tests.engine.rig import count_entries, lines, read, sync_options
from tests.fakes.registry import FakeRegistry


async def test_a_cache_takes_as_many_entries_as_are_read(
    four_apps: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that is there already is counted once, and one too many changes nothing."""
    monkeypatch.setattr(limits, "_BYTES_AN_ENTRY", 1 << 30)
    cache = tmp_path / "saved-image-cache"

    async def sync(*numbers: int) -> list[str]:
        await sync_cache(sync_options(tmp_path, *lines(four_apps, *numbers)), lambda event: None)
        return [image.name.rpartition("/")[2] for image in await in_thread(read, cache)]

    assert await sync(1, 2) == ["app1:1", "app2:1"]
    two = count_entries(await in_thread(read, cache))
    monkeypatch.setattr(graph, "MAX_ENTRIES", two)
    assert await sync(2, 1) == ["app1:1", "app2:1"]
    with pytest.raises(StorageError, match=f"app3:1 is one too many: .* more than {two} blobs"):
        await sync(2, 3)
    assert await sync(1) == ["app1:1", "app2:1"]
