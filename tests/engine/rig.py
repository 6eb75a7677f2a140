"""A short way to run `save` and `sync`, and small images."""

from __future__ import annotations

import asyncio
import json
import sys
import threading
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from hangar_async import threads
from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions, SyncOptions
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.events import Event
from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from hangar_async.layout.images import read_images
from hangar_async.oci import Image, children
from hangar_async.testing.images import Built, layer
from tests.fakes.registry import FakeRegistry


def options(tmp_path: Path, *lines: str, **keywords: Any) -> SaveOptions:
    retry = RetryPolicy(retries=2, first=0.0, longest=0.0, outage_pauses=(0.0,))
    settings = RegistrySettings(retry=retry, stall_timeout=20.0)
    values: dict[str, Any] = {
        "images": lines,
        "format": "dir",
        "destination": tmp_path / "out",
        "cache": tmp_path / "saved-image-cache",
        "failed": tmp_path / "failed.txt",
        "jobs": 4,
        "environment": Environment(registries=settings),
    }
    return SaveOptions(**{**values, **keywords})


def sync_options(tmp_path: Path, *lines: str, **keywords: Any) -> SyncOptions:
    """Options of a sync into the cache of `options`."""
    saved = options(tmp_path, *lines)
    values = {name.name: getattr(saved, name.name) for name in fields(SyncOptions)}
    return SyncOptions(**{**values, **keywords})


async def run(tmp_path: Path, *lines: str, events: list[Event] | None = None, **keywords: Any) -> Report:
    sink = events if events is not None else []
    return await save(options(tmp_path, *lines, **keywords), sink.append)


def listed(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "saved-images-list.json").read_text())["List"]
    return found


def entries(root: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((root / "index.json").read_text())["manifests"]
    return found


def held(root: Path) -> set[str]:
    return {f"sha256:{path.name}" for path in (root / "share" / "sha256").iterdir()}


def all_digests(*images: Built) -> set[str]:
    return {str(digest) for one in images for digest in (*one.documents, *one.blobs)}


class Countdown:
    """An observer that cancels a task at an event."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.watched: asyncio.Task[Any] | None = None

    def __call__(self, event: Event) -> None:
        self.number -= 1
        if not self.number and self.watched is not None:
            self.watched.cancel()


def at_work() -> list[str]:
    """The modules of ours that other threads are in now, without the one that starts them."""
    frames = [frame for number, frame in sys._current_frames().items() if number != threading.get_ident()]
    names = [str(frame.f_globals["__name__"]) for first in frames for frame, _ in traceback.walk_stack(first)]
    return [name for name in names if name.startswith("hangar_async.") and name != "hangar_async.threads"]


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """Count in the block the `tasks` of the package and the `hops` to threads."""
    counts: Counter[str] = Counter()
    # The threads that a loop begins with are no hops.
    threads._pools()
    submit, loop = ThreadPoolExecutor.submit, asyncio.get_running_loop()

    def counted(*arguments: Any, **keywords: Any) -> Any:
        counts["hops"] += 1
        return submit(*arguments, **keywords)

    def make(loop: asyncio.AbstractEventLoop, work: Any, **keywords: Any) -> asyncio.Task[Any]:
        # The fake registry is in the same loop, and uses the room of the server.
        module = str(work.cr_frame.f_globals["__name__"])
        counts["tasks"] += module.startswith("hangar_async.") and not module.startswith("hangar_async.server.")
        return asyncio.Task(work, loop=loop, **keywords)

    loop.set_task_factory(make)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ThreadPoolExecutor, "submit", counted)
        try:
            yield counts
        finally:
            loop.set_task_factory(None)


BASE = layer({"base": bytes(range(256)) * 3000}, "gzip")


def lines(four_apps: FakeRegistry, *numbers: int) -> list[str]:
    return [f"{four_apps.address}/app{number}:1" for number in numbers or range(4)]


def read(path: Path) -> Sequence[Image]:
    """Read the images of an archive or a directory."""
    return read_images(layout_at(path, find_archive(path), lambda: None)).images


def count_entries(images: Iterable[Image]) -> int:
    contents = [(content.digest, image.documents) for image in images for content in image.contents]
    return sum(len(children(documents[digest])) for digest, documents in contents if digest in documents)
