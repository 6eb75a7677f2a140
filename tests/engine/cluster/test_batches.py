"""Tasks of a moment go to the scheduler in one message, and their results come in one."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("distributed")

from hangar_async.engine.cluster import batches as module
from hangar_async.engine.cluster.batches import Batches


class Client:
    """A client whose tasks end at once, each with its payload and the results of those that it needs."""

    def __init__(self) -> None:
        self.messages: list[int] = []
        self.failure: Exception | None = None

    def map(
        self, function: Any, runs: Sequence[str], payloads: Sequence[bytes], needed: Any, *, key: Any, pure: bool
    ) -> list[Any]:
        """Take tasks."""
        if self.failure is not None:
            raise self.failure
        self.messages.append(len(payloads))
        tasks = zip(payloads, needed, strict=True)
        return [SimpleNamespace(status="finished", value=(one, [n.value for n in needs])) for one, needs in tasks]

    async def gather(self, tasks: Sequence[Any]) -> list[Any]:
        """Return results."""
        self.messages.append(-len(tasks))
        if self.failure is not None:
            raise self.failure
        return [task.value for task in tasks]


def opened(monkeypatch: pytest.MonkeyPatch) -> tuple[Client, Batches]:
    async def wait(task: Any) -> None:
        await asyncio.sleep(0)

    monkeypatch.setattr(module, "wait", wait)
    monkeypatch.setattr(module, "_TURN", 0.0)
    client = Client()
    return client, Batches(client, print, "run")


async def test_tasks_of_a_moment_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    client, found = opened(monkeypatch)
    tasks = await asyncio.gather(*(found.submit(b"%d" % n, ("blob", str(n))) for n in range(5)))
    image = await found.submit(b"image", ("image", "a"), tasks[:2])
    results = await asyncio.gather(*(found.result(task) for task in (*tasks, image)))
    assert results[-1] == (b"image", [(b"0", []), (b"1", [])])
    assert client.messages == [5, 1, -6]


async def test_failures_reach_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    client, found = opened(monkeypatch)
    tasks = await asyncio.gather(*(found.submit(b"", ("blob", str(n))) for n in range(2)))
    client.failure = OSError("gone")
    results = await asyncio.gather(*(found.result(task) for task in tasks), return_exceptions=True)
    assert [str(one) for one in results] == ["gone"] * 2
    with pytest.raises(OSError, match="gone"):
        await found.submit(b"", ("blob", "3"))
