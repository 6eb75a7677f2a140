"""The archive stage alone."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.stage import Stage

ASKS = (
    "archive of 1.2 GB of gzip'd layers, with and without its SHA-256, beside a read/write loop with fsync and pigz -6"
)
_KINDS = ("gzip", "zstd")


def ask(stage: Stage) -> Answer:
    """Measure; all is on the disk in the end.

    With its SHA-256 an archive waits for one stream of hashing, as the loop that hashes does; without, for the disk.
    """
    corpus = stage.corpus("large")
    archives = [ours.archive(corpus, kind) for kind in _KINDS]
    unhashed = [ours.archive(corpus, kind, "none") for kind in _KINDS]
    loop, hashing = ours.copy(corpus), ours.copy(corpus, hashed=True)
    pigz = peers.tar_and_pigz(corpus)
    commands = [*archives, *unhashed, loop, hashing, pigz]
    answer = Answer("archive", stage.measure("archive", commands, writes=corpus.size))
    for one in archives:
        answer.inner_speed(one.name, hashing.name, 0.85)
        answer.inner_speed(one.name, pigz.name, 20)
    for one in unhashed:
        answer.inner_speed(one.name, loop.name, 0.85)
    for one, plain in zip(archives, unhashed, strict=True):
        hashed, without = answer.of(one.name), answer.of(plain.name)
        seconds = hashed.more("inner") / without.more("inner")
        answer.notes.append(f"{one.name}: {seconds:.2f} of the time of --checksum none, by SHA-256 alone")
        answer.notes.append(f"{one.name}: {hashed.cpu - without.cpu:.2f} processor seconds of SHA-256")
    return answer
