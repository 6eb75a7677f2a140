"""A directory from a registry that is far away."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage, far_away

ASKS = "save -c dir -j 20 of 60 small images with 50 ms of latency added, beside a loop of skopeo"
_IMAGES = 60
_LATENCY = 0.050


def ask(stage: Stage) -> Answer:
    """Measure."""
    corpus = stage.corpus("tiny")
    with far_away(stage.registry, _LATENCY) as address:
        images = corpus.list_file(address, _IMAGES)
        save = ours.save(images, corpus, "dir", 20, whole=False)
        loop = peers.skopeo_loop(images, lambda directory: None)
        answer = Answer("save_latency", stage.measure("save_latency", [save, loop]))
    answer.compare(save.name, loop.name, 0.06)
    return answer
