"""A mirror of many tags, far away from both sides, that finds everything at its target."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.checks import Check
from benchmarks.harness import Answer
from benchmarks.process import Command, RunFailed
from benchmarks.stage import ROOT, Line, Stage, far_away

ASKS = "mirror of 10,000 unchanged tags, 50 ms from both sides, 40 requests at once, beside the round trips"
_COUNT, _FEW = 10_000, 2_000
_LINE = Line(0.050)
_AT_ONCE = 40
#: The most, in parts of what the round trips take: a HEAD of each side for each tag.
_TARGET = 1.15


def ask(stage: Stage) -> Answer:
    """Measure; with fewer than three runs, fewer tags."""
    count = _COUNT if stage.runs > 2 else _FEW
    with made_up() as registry, far_away(registry, _LINE) as source, far_away(registry, _LINE) as target:
        listed = stage.directory / "unchanged.txt"
        listed.write_text("".join(f"{source}/app {target}/copies/app v1.{number}\n" for number in range(count)))
        words = ("-f", str(listed), "-j", "20", "--requests", str(_AT_ONCE))
        argv = (sys.executable, "-m", "hangar_async", "mirror", *words)
        command = Command(f"mirror of {count:,} unchanged tags", argv, check=_all_unchanged(count))
        answer = Answer("mirror_unchanged", stage.measure("mirror_unchanged", [command]))
    least = 2 * count / _AT_ONCE * _LINE.latency
    answer.bound(f"seconds / the {least:.2f} s of {2 * count:,} round trips", answer.series[0].seconds / least, _TARGET)
    return answer


def _all_unchanged(count: int) -> Check:
    def check(directory: Path) -> None:
        said = (directory / "output").read_text()
        if not re.search(rf"\b{count:,} unchanged", said):
            raise RunFailed(f"not all images are unchanged: {said[-500:]}")

    return check


@contextmanager
def made_up() -> Iterator[str]:
    """Run a registry that makes its images up, and give its address."""
    argv = (sys.executable, "-m", "benchmarks.programs.made_up")
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
