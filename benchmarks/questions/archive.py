"""The archive stage alone."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = "archive of 1.2 GB of gzip'd layers without a sync, beside a read/write loop and pigz -6"
_KINDS = ("gzip", "zstd")


def ask(stage: Stage) -> Answer:
    """Measure."""
    corpus = stage.corpus("large")
    archives = [ours.archive(corpus, kind) for kind in _KINDS]
    unhashed = [ours.archive(corpus, kind, hashed=False) for kind in _KINDS]
    loop, hashing = ours.copy(corpus), ours.copy(corpus, hashed=True)
    pigz = peers.tar_and_pigz(corpus)
    answer = Answer(
        "archive", stage.measure("archive", [*archives, *unhashed, loop, hashing, pigz], writes=corpus.size)
    )
    for one in archives:
        answer.inner_speed(one.name, loop.name, 0.85)
        answer.inner_speed(one.name, pigz.name, 20)
    for one in unhashed:
        ratio = answer.of(loop.name).more("inner") / answer.of(one.name).more("inner")
        answer.notes.append(f"{one.name}: {ratio:.2f} of the speed of the loop")
    for one in (*archives, loop):
        ratio = answer.of(hashing.name).more("inner") / answer.of(one.name).more("inner")
        answer.notes.append(f"{one.name}: {ratio:.2f} of the speed of the loop that hashes, as the checksum file needs")
    return answer
