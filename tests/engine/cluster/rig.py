"""Clusters on loopback, and mirrors on them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

from hangar_async.engine.mirror import mirror
from hangar_async.testing.images import Built, layer
from tests.engine.test_mirror import BIG, options
from tests.fakes.clock import turns_until
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry

#: The tasks that a worker has at once.
THREADS = 64
LOOPBACK = "127.0.0.1"


@contextmanager
def open_cluster(workers: int, **keywords: Any) -> Iterator[Any]:
    """Run a scheduler, and workers in processes of their own that are started again when they end."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=workers,
        threads_per_worker=THREADS,
        processes=True,
        host=LOOPBACK,
        dashboard_address=f"{LOOPBACK}:0",
        worker_dashboard_address=f"{LOOPBACK}:0",
        silence_logs=50,
        memory_limit=0,
        **keywords,
    ) as cluster:
        yield cluster


def fill(source: FakeRegistry, moment: int) -> dict[str, Built]:
    """Give a registry images that no other moment has, which share a layer."""
    built = {f"app{moment}-{number}": small(f"app{moment}-{number}", BIG, _own(moment, number)) for number in range(6)}
    for name, image in built.items():
        source.add(f"{name}:1", image)
    return built


def _own(*numbers: int) -> Any:
    """Make a layer that no other image has."""
    return layer({"own": random.Random(str(numbers)).randbytes(200_000)}, "none")


async def reached(source: FakeRegistry, moment: int, done: Callable[[], bool]) -> None:
    """Wait until this many blobs were asked for, or it is done."""
    await turns_until(lambda: done() or len(source.asked("/blobs/sha", "GET")) >= moment, 10_000_000)


async def copy_and_kill(cluster: Any, source: FakeRegistry, target: str, moment: int) -> dict[str, Built]:
    """Mirror images, and kill a worker when this many of their blobs were asked for; return the images."""
    built = fill(source, moment)
    place: Any = SimpleNamespace(address=target)
    lines = [f"SOURCE/{name}:1" for name in built]
    run = asyncio.create_task(mirror(options(source, place, *lines, cluster=cluster.scheduler_address)))
    pid = next(iter(cluster.workers.values())).pid
    await reached(source, moment, run.done)
    os.kill(pid, signal.SIGKILL)
    assert [str(outcome.error) for outcome in (await run).failed] == []
    return built
