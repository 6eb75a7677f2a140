"""Large images from registry to registry."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.checks import held_by
from benchmarks.harness import Answer
from benchmarks.mirrors import pair
from benchmarks.questions.load import Far
from benchmarks.stage import Stage

ASKS = "mirror of 16 images with 1.2 GB, beside skopeo sync --all, and curl that reads piped into curl that sends"
_JOBS = (4, 20)
_LIMITS = {4: 95.0, 20: 115.0}


def ask(stage: Stage) -> Answer:
    """Measure: each run has a target that is new and empty."""
    corpus = stage.corpus("large")
    with Far(stage.directory / "far") as far:
        *mirrors, sync = pair(corpus, stage.registry, far.address, _JOBS, far.renewed)
        blobs = far.renewed(lambda host: held_by(host, "uploads/curl", corpus.blobs)(stage.directory))
        curl = peers.curl_through(corpus.urls_file(stage.registry), far.address, blobs)
        save = ours.save(corpus.list_file(stage.registry), corpus, "dir", 4)
        commands = [*mirrors, sync, curl, save]
        answer = Answer("mirror_large", stage.measure("mirror_large", commands, writes=corpus.size))
    first = mirrors[0].name
    answer.compare(first, sync.name, 0.7)
    answer.compare(first, curl.name, 1.1)
    seconds = answer.of(first).cpu / answer.of(save.name).cpu
    answer.bound(f"processor seconds of {first} / {save.name}", seconds, 0.9)
    for jobs, one in zip(_JOBS, mirrors, strict=True):
        answer.bound(f"peak MB of {one.name}", answer.of(one.name).peak, _LIMITS[jobs])
    gigabytes = corpus.size / 1e9
    told = ", ".join(f"{name} {answer.of(name).cpu / gigabytes:.2f}" for name in (first, save.name, sync.name))
    answer.notes.append(f"processor seconds a GB: {told}")
    return answer
