"""A directory from a registry, many small images."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.checks import blobs_in
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "save -c dir of 300 images of a few KB, beside a loop of skopeo"


def ask(stage: Stage) -> Answer:
    """Measure."""
    corpus = stage.corpus("tiny")
    images = corpus.list_file(stage.registry)
    save = ours.save(images, corpus, "dir", 4)
    loop = peers.skopeo_loop(images, blobs_in("cache/share/sha256", corpus.layers))
    answer = Answer("save_tiny", stage.measure("save_tiny", [save, loop]))
    answer.compare(save.name, loop.name, 0.5)
    return answer
