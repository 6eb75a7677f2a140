"""The archive stage where there is something to compress."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "archive of 150 MB of layers that are not compressed, beside pigz -6"


def ask(stage: Stage) -> Answer:
    """Measure."""
    corpus = stage.corpus("plain")
    archives = [ours.archive(corpus, kind) for kind in ("gzip", "zstd")]
    pigz = peers.tar_and_pigz(corpus)
    answer = Answer("archive_plain", stage.measure("archive_plain", [*archives, pigz]))
    for one in archives:
        answer.inner_speed(one.name, pigz.name, 6)
        size = answer.of(one.name).more("size") / answer.of(pigz.name).more("size")
        answer.bound(f"size of {one.name} / {pigz.name}", size, 1.15)
    return answer
