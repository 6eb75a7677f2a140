"""Rounds of standing jobs on a clock on which waiting takes no time.

    python -m benchmarks.programs.watch_rounds FILE ROUNDS

Writes a line of JSON each tenth of the rounds: how many have ended, and the memory that the process holds, in MB.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

from hangar_async.config.job_file_options import MirrorJobsOptions
from hangar_async.engine.events import Event, JobEnded
from hangar_async.engine.jobs.watch import watch_jobs
from hangar_async.engine.limits.hosts import Clock


def held() -> float:
    """The memory that this process holds, in MB."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmRSS"].split()[0]) * 1024 / 1e6


async def run(path: Path, rounds: int) -> None:
    """Run so many rounds."""
    skipped, ended, done = 0.0, 0, asyncio.Event()

    async def sleep(seconds: float) -> None:
        nonlocal skipped
        skipped += seconds
        await asyncio.sleep(0)

    def seen(event: Event) -> None:
        nonlocal ended
        if isinstance(event, JobEnded):
            assert event.status == 0, event
            ended += 1
            if ended % max(1, rounds // 10) == 0:
                sys.stdout.write(f"{json.dumps({'rounds': ended, 'mb': round(held(), 1)})}\n")
                sys.stdout.flush()
            if ended == rounds:
                done.set()

    clock = Clock(lambda: time.monotonic() + skipped, lambda: time.time() + skipped, sleep)
    options = MirrorJobsOptions(config=path, jobs=20, state=path.with_suffix(".state"), metrics="0")
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch_jobs(options, seen, clock=clock))
        await done.wait()
        task.cancel()


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
