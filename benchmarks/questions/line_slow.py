"""A directory from a registry that gives each connection little."""

from __future__ import annotations

from benchmarks.harness import Answer
from benchmarks.lines import ask_line
from benchmarks.stage import Line, Stage

ASKS = "save -c dir of 13 images with 0.9 GB, 30 ms away, 10 MB/s a connection, beside what the line allows"
LINE = Line(0.030, rate=10e6)
#: The most for each number of jobs, in parts of what the line allows.
_TARGETS = {1: 1.3, 4: 1.25, 20: 1.4}


def ask(stage: Stage) -> Answer:
    """Measure."""
    return ask_line(stage, "line_slow", LINE, _TARGETS)
