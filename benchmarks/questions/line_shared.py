"""A directory from a registry behind a line that all connections share."""

from __future__ import annotations

from benchmarks.harness import Answer
from benchmarks.lines import ask_line
from benchmarks.stage import Line, Stage

ASKS = "save -c dir of 13 images with 0.9 GB, 30 ms away, 60 MB/s in all, beside what the line allows"
LINE = Line(0.030, shared_rate=60e6)
#: The most for each number of jobs, in parts of what the line allows; with one job it is measured alone.
_TARGETS = {1: None, 4: 1.1, 20: 1.1}


def ask(stage: Stage) -> Answer:
    """Measure."""
    return ask_line(stage, "line_shared", LINE, _TARGETS)
