"""An archive from a registry when no disk is waited for."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "the same without a sync on either side"


def ask(stage: Stage) -> Answer:
    """Measure."""
    corpus = stage.corpus("large")
    images = corpus.list_file(stage.registry)
    save = ours.save_unsynced(images, corpus, "gzip", 4)
    loop = peers.skopeo_and_tar(images, corpus, sync=False)
    answer = Answer("save_unsynced", stage.measure("save_unsynced", [save, loop], writes=2 * corpus.size))
    answer.compare(save.name, loop.name, 0.35)
    return answer
