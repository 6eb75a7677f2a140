"""A directory from a registry, many small images."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.checks import blobs_in
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "save -c dir of 300 images of a few KB, beside a loop of skopeo"
_CASES = {"two architectures": "tiny", "one architecture": "tiny_single"}


def ask(stage: Stage) -> Answer:
    """Measure both corpora of small images."""
    answer = Answer("save_tiny")
    for case, name in _CASES.items():
        corpus = stage.corpus(name)
        images = corpus.list_file(stage.registry)
        save = ours.save(images, corpus, "dir", 4)
        loop = peers.skopeo_loop(images, blobs_in("cache/share/sha256", corpus.layers))
        measured = stage.measure(f"save_tiny {case}", [save, loop])
        answer.series += [one.named(f"{one.name}, {case}") for one in measured]
        answer.compare(f"{save.name}, {case}", f"{loop.name}, {case}", 0.5)
    return answer
