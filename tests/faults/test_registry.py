"""Each row of what registries do wrong, against a real socket; nothing waits."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.registry import FakeRegistry
from tests.faults.rig import Row, Scene
from tests.faults.rows_registry import REGISTRY_ROWS


@pytest.mark.parametrize("buffered", [True, False], ids=["buffered", "streamed"])
@pytest.mark.parametrize("row", REGISTRY_ROWS, ids=lambda row: row.name)
async def test_row(row: Row, buffered: bool, fake_registry: FakeRegistry, tmp_path: Path) -> None:
    scene = Scene(fake_registry, tmp_path, settings={"buffered": buffered})
    row.script(scene)
    await scene.save()
    scene.check(row.error)
    for check in row.checks:
        check(scene)
