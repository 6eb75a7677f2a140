"""The processor seconds of a save, by their purpose."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from benchmarks.checks import file_of
from benchmarks.harness import Answer
from benchmarks.process import Command
from benchmarks.stage import Stage

ASKS = "processor seconds of save -j 4 of 1.2 GB, no sync, by what they are spent on"


def ask(stage: Stage) -> Answer:
    """Measure; medians of each kind of work."""
    corpus = stage.corpus("large")
    images = str(corpus.list_file(stage.registry))
    commands = [
        Command(
            f"save -c {kind}, watched",
            (sys.executable, "-m", "benchmarks.programs.profile", images, kind, "4", "spent"),
            check=file_of("spent", 1),
            measures=_spent,
        )
        for kind in ("gzip", "zstd")
    ]
    answer = Answer("profile", stage.measure("profile", commands, writes=2 * corpus.size))
    for series in answer.series:
        kinds = series.runs[0].more
        spent = sorted(((series.more(kind), kind) for kind in kinds), reverse=True)
        answer.notes.append(f"{series.name}: " + ", ".join(f"{kind} {seconds:.2f}" for seconds, kind in spent))
    return answer


def _spent(directory: Path) -> dict[str, float]:
    found: dict[str, float] = json.loads((directory / "work" / "spent").read_text())
    return found
