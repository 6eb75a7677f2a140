"""Small images between registries that are far away."""

from __future__ import annotations

from benchmarks.harness import Answer
from benchmarks.mirrors import pair
from benchmarks.questions.load import Far
from benchmarks.stage import Line, Stage, far_away

ASKS = "mirror of 30 images of a few KB, 50 ms added to each exchange at both sides, beside skopeo sync --all"
_IMAGES = 30
_LINE = Line(0.050)


def ask(stage: Stage) -> Answer:
    """Measure: each run has a target that is new and empty, at the other end of a line that stays."""
    corpus = stage.corpus("tiny")
    address = stage.directory / "far-address"
    with (
        Far(stage.directory / "far") as far,
        far_away(stage.registry, _LINE) as source,
        far_away(far.host, _LINE) as target,
    ):
        address.write_text(target)
        mirror, sync = pair(corpus, source, address, (20,), far.renewed, count=_IMAGES, registry=stage.registry)
        answer = Answer("mirror_far", stage.measure("mirror_far", [mirror, sync]))
    answer.compare(mirror.name, sync.name, 0.06)
    return answer
