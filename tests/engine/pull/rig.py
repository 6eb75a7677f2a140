"""Helpers of this room's tests."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hangar_async.engine.events import Event
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from hangar_async.testing.images import Built, index, layer
from tests.engine.rig import options
from tests.fakes.clock import FakeClock
from tests.fakes.images import ARM64, small

BASE = layer({"base": b"base" * 5000})


def app(number: int) -> Built:
    return index([small(f"app{number}", BASE), small(f"arm{number}", BASE, platform=ARM64)])


async def bring(tmp_path: Path, *images: str, events: list[Event] | None = None, **keywords: Any) -> Report:
    """Save images into an archive, by a clock on which nothing waits."""
    values = {"format": "gzip", "destination": tmp_path / "out.tar.gz", **keywords}
    observe = (events if events is not None else []).append
    return await save(options(tmp_path, *images, **values), observe, clock=FakeClock().clock)
