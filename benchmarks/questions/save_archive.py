"""An archive from a registry, large images."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "save -c gzip and zstd of 1.2 GB, beside skopeo, then tar and pigz; and the disk's limit"


def ask(stage: Stage) -> Answer:
    """Measure; for gzip one of the two targets is enough."""
    corpus = stage.corpus("large")
    images = corpus.list_file(stage.registry)
    gzip, zstd = (ours.save(images, corpus, kind, 4) for kind in ("gzip", "zstd"))
    loop, disk = peers.skopeo_and_tar(images, corpus), peers.disk(corpus.size, files=2)
    answer = Answer("save_archive", stage.measure("save_archive", [gzip, zstd, loop, disk], writes=2 * corpus.size))
    answer.compare(gzip.name, loop.name, 0.5, choice="loop or disk")
    answer.compare(gzip.name, disk.name, 1.25, choice="loop or disk")
    answer.compare(zstd.name, gzip.name, 1.2)
    return answer
