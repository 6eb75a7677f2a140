"""The window of a list."""

import asyncio

import pytest

from hangar_async.engine.pull import window
from hangar_async.engine.pull.planning import Planning
from hangar_async.engine.pull.window import fetch_in_order


async def test_no_more_than_a_window_is_under_way_and_late_images_come_last(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(window, "WINDOW", 2)
    planning, under_way, most, taken = Planning(2, 3), 0, 0, list[tuple[int, int]]()

    async def fetch(number: int, entry: str) -> int | None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        planning.end(number)
        return None if planning.has_later and entry == "late" else number

    async def take(number: int, result: int) -> None:
        taken.append((number, result))

    await fetch_in_order(["a", "late", "b", "d", "c"], planning, fetch, take)
    assert taken == [(0, 0), (2, 2), (3, 3), (4, 4), (1, 1)]
    assert most == 2
    assert planning.is_complete
