"""A directory from a registry that is far away."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage, far_away

ASKS = "save -c dir -j 20 of 60 small images from far away, beside a loop of skopeo"
_IMAGES = 60
#: The corpus, and the seconds that are added to each exchange, half of them in each direction.
_CASES = {
    "50 ms": ("tiny", 0.050),
    "50 ms, one architecture": ("tiny_single", 0.050),
    "50 ms each way, one architecture": ("tiny_single", 0.100),
}


def ask(stage: Stage) -> Answer:
    """Measure all cases; the fewer requests an image takes and the nearer the registry, the less there is to gain."""
    answer = Answer("save_latency")
    for case, (name, seconds) in _CASES.items():
        corpus = stage.corpus(name)
        with far_away(stage.registry, seconds) as address:
            images = corpus.list_file(address, _IMAGES)
            save = ours.save(images, corpus, "dir", 20, whole=False)
            loop = peers.skopeo_loop(images, lambda directory: None)
            measured = stage.measure(f"save_latency {case}", [save, loop])
        answer.series += [one.named(f"{one.name}, {case}") for one in measured]
        answer.compare(f"{save.name}, {case}", f"{loop.name}, {case}", 0.06)
    return answer
