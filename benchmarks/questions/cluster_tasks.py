"""Many tasks through the coordinator of a cluster."""

from __future__ import annotations

import sys

from benchmarks.harness import Answer
from benchmarks.process import Command
from benchmarks.stage import Stage

ASKS = (
    "10,000 tasks, of 5,000 blobs and their images, through a coordinator, a scheduler and a worker that does nothing"
)
_MOST = 20.0


def ask(stage: Stage) -> Answer:
    """Measure the time of processors, with the start of Python and dask."""
    tasks = Command("10,000 tasks", (sys.executable, "-m", "benchmarks.programs.cluster_tasks", "5000"))
    answer = Answer("cluster_tasks", stage.measure("cluster_tasks", [tasks]))
    answer.bound("processor seconds of 10,000 tasks", answer.of(tasks.name).cpu, _MOST)
    return answer
