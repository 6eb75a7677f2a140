"""Clusters on loopback, and mirrors on them."""

from __future__ import annotations

import asyncio
import os
import random
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from hangar_async.engine.mirror import mirror
from hangar_async.testing.images import layer
from tests.engine.loading import tagged
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


async def copy_and_kill(cluster: Any, source: FakeRegistry, target: FakeRegistry, moment: int) -> None:
    """Mirror images, kill a worker when this many of their blobs were asked for, and see that all are there."""
    built = {f"app{number}": small(f"app{moment}-{number}", BIG, own_layer(moment, number)) for number in range(6)}
    for name, image in built.items():
        source.add(f"{name}:1", image)
    lines = [f"SOURCE/{name}:1" for name in built]
    run = asyncio.create_task(mirror(options(source, target, *lines, cluster=cluster.scheduler_address)))
    pid = next(iter(cluster.workers.values())).pid
    await turns_until(lambda: run.done() or len(source.asked("/blobs/sha", "GET")) >= moment, 10_000_000)
    os.kill(pid, signal.SIGKILL)
    report = await run
    assert [str(outcome.error) for outcome in report.failed] == []
    for name, image in built.items():
        assert await tagged(target.content, f"copies/{name}:1") == image.digest
        for digest, data in image.blobs.items():
            assert await target.content.size(f"copies/{name}", digest) == len(data)


def own_layer(*numbers: int) -> Any:
    """A layer that no other image has."""
    return layer({"own": random.Random(str(numbers)).randbytes(200_000)}, "none")
