"""A directory from a registry that is far away."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage, far_away

ASKS = "save -c dir -j 20 of 60 small images from far away, beside a loop of skopeo"
_IMAGES = 60
#: Seconds added to each exchange: 50 ms in all, and 50 ms in each direction.
_DISTANCES = {"50 ms": 0.050, "50 ms each way": 0.100}


def ask(stage: Stage) -> Answer:
    """Measure at both distances."""
    corpus = stage.corpus("tiny")
    answer = Answer("save_latency")
    for distance, seconds in _DISTANCES.items():
        with far_away(stage.registry, seconds) as address:
            images = corpus.list_file(address, _IMAGES)
            save = ours.save(images, corpus, "dir", 20, whole=False)
            loop = peers.skopeo_loop(images, lambda directory: None)
            measured = stage.measure(f"save_latency {distance}", [save, loop])
        answer.series += [one.named(f"{one.name}, {distance}") for one in measured]
        answer.compare(f"{save.name}, {distance}", f"{loop.name}, {distance}", 0.06)
    return answer
