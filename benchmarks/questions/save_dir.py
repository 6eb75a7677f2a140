"""A directory from a registry, large images."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.checks import blobs_in
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "save -c dir of 16 images with 1.2 GB, beside a loop of skopeo and the disk's limit"


def ask(stage: Stage) -> Answer:
    """Measure; one of the two targets is enough."""
    corpus = stage.corpus("large")
    images = corpus.list_file(stage.registry)
    save = ours.save(images, corpus, "dir", 4)
    loop = peers.skopeo_loop(images, blobs_in("cache/share/sha256", corpus.layers))
    disk = peers.disk(corpus.size)
    answer = Answer("save_dir", stage.measure("save_dir", [save, loop, disk], writes=corpus.size))
    answer.compare(save.name, loop.name, 0.6, choice="loop or disk")
    answer.compare(save.name, disk.name, 1.2, choice="loop or disk")
    return answer
