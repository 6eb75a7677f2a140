"""Many small images from registry to registry."""

from __future__ import annotations

from benchmarks.harness import Answer
from benchmarks.mirrors import pair
from benchmarks.questions.load import Far
from benchmarks.stage import Stage

ASKS = "mirror of 300 images of a few KB, beside skopeo sync --all"


def ask(stage: Stage) -> Answer:
    """Measure: each run has a target that is new and empty."""
    corpus = stage.corpus("tiny")
    with Far(stage.directory / "far") as far:
        mirror, sync = pair(corpus, stage.registry, far.address, (4,), far.renewed)
        answer = Answer("mirror_tiny", stage.measure("mirror_tiny", [mirror, sync], writes=corpus.size))
    answer.compare(mirror.name, sync.name, 0.3)
    return answer
