"""The cost of choosing tags by rules."""

from __future__ import annotations

import sys
from statistics import median

from benchmarks.harness import Answer
from benchmarks.process import Command
from benchmarks.stage import Stage

ASKS = "all rules of a job over 100,000 tags"


def ask(stage: Stage) -> Answer:
    """Measure."""
    argv = (sys.executable, "-m", "benchmarks.programs.tags", "seconds")
    command = Command(
        "100,000 tags", argv, measures=lambda work: {"inner": float((work / "work" / "seconds").read_text())}
    )
    answer = Answer("tags", stage.measure("tags", [command]))
    answer.bound("processor seconds", median(run.more["inner"] for run in answer.of(command.name).runs), 2)
    return answer
