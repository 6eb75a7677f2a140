"""Peak memory, whatever the sizes."""

from __future__ import annotations

from benchmarks import ours
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "peak memory of save -j 20: 16 images, and 20 blobs of 210 MB at once"
_DIRECTORY_LIMIT = 110.0
_ARCHIVE_LIMIT = 130.0


def ask(stage: Stage) -> Answer:
    """Measure; the highest of all runs counts."""
    answer = Answer("memory")
    for name, kinds in (("large", ("dir", "gzip", "zstd")), ("huge", ("dir", "gzip"))):
        corpus = stage.corpus(name)
        images = corpus.list_file(stage.registry)
        commands = [ours.save(images, corpus, kind, 20) for kind in kinds]
        for kind, series in zip(kinds, stage.measure(f"memory-{name}", commands), strict=True):
            limit = _DIRECTORY_LIMIT if kind == "dir" else _ARCHIVE_LIMIT
            answer.bound(f"peak MB of {series.name}, {name}", series.peak, limit)
            answer.series.append(series.named(f"{series.name}, {name}"))
    return answer
