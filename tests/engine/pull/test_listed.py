"""The images of a list beyond the window."""

from pathlib import Path

import pytest

from hangar_async import spooled
from hangar_async.engine.events import Event, ImageEnded, ImagePlanned
from hangar_async.engine.limits import usage
from hangar_async.engine.pull import listed, window
from hangar_async.errors import NotFound
from hangar_async.testing.images import index, layer
from tests.engine.rig import run
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry


@pytest.mark.parametrize("kind", ["layer", "manifest", "root"])
async def test_content_that_an_image_outside_of_the_window_brings(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    for module in (listed, window):
        monkeypatch.setattr(module, "WINDOW", 1)
    for module in (spooled, usage):
        monkeypatch.setattr(module, "KEPT", 1)
    shared = layer({"shared": b"x"})
    child = small("child", shared)
    gone = {"layer": shared.digest, "manifest": child.digest, "root": child.digest}[kind]
    for name in ("lacking", "whole"):
        fake_registry.add(f"{name}:1", index([child]))
    fake_registry.content.remove("lacking", gone)
    fake_registry.add("other:1", small("other"))
    fake_registry.add("hopeless:1", small("hopeless", none := layer({"none": b"y"})))
    fake_registry.content.remove("hopeless", none.digest)
    names = [f"lacking@{gone}" if kind == "root" else "lacking:1", "other:1", "hopeless:1", "whole:1"]
    events: list[Event] = []
    report = await run(tmp_path, *(f"{fake_registry.address}/{name}" for name in names), events=events)
    assert [outcome.entry.line for outcome in report.outcomes] == [1, 2, 3, 4]
    assert [type(outcome.error) for outcome in report.outcomes] == [type(None), type(None), NotFound, type(None)]
    assert sum(isinstance(event, ImageEnded) for event in events) == 4
    assert sum(isinstance(event, ImagePlanned) for event in events) == 4
