"""A mirror that finds everything at its target."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.checks import Check
from benchmarks.harness import Answer
from benchmarks.mirrors import pair
from benchmarks.questions.load import Far
from benchmarks.stage import Stage

ASKS = "mirror of 300 images that are there already, beside skopeo sync --all"


def ask(stage: Stage) -> Answer:
    """Measure: the run that does not count fills the target."""
    corpus = stage.corpus("tiny")
    with Far(stage.directory / "far") as far:

        def stays(check: Callable[[str], None]) -> Check:
            return lambda directory: check(far.host)

        mirror, sync = pair(corpus, stage.registry, far.address, (4,), stays)
        answer = Answer("mirror_nothing", stage.measure("mirror_nothing", [mirror, sync]))
    answer.compare(mirror.name, sync.name, 0.15)
    return answer
