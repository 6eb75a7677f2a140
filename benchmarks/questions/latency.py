"""A directory from a registry that is far away."""

from __future__ import annotations

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.lines import connections
from benchmarks.recipes import CORPORA, requests_of
from benchmarks.stage import Line, Stage, far_away

ASKS = "save -c dir of 60 small images from far away, beside a loop of skopeo and what the round trips take"
_IMAGES = 60
_JOBS = (1, 4, 20)
#: The corpus, and the seconds that are added to each exchange, half of them in each direction.
_CASES = {
    "50 ms": ("tiny", 0.050),
    "50 ms, one architecture": ("tiny_single", 0.050),
    "50 ms each way, one architecture": ("tiny_single", 0.100),
}
_TARGET = 0.03


def ask(stage: Stage) -> Answer:
    """Measure all cases; the fewer requests an image takes and the nearer the registry, the less there is to gain."""
    answer = Answer("latency")
    for case, (name, seconds) in _CASES.items():
        corpus = stage.corpus(name)
        requests = requests_of(CORPORA[name]()[:_IMAGES])
        with far_away(stage.registry, Line(seconds)) as address:
            images = corpus.list_file(address, _IMAGES)
            saves = {jobs: ours.save(images, corpus, "dir", jobs, whole=False) for jobs in _JOBS}
            loop = peers.skopeo_loop(images, lambda directory: None)
            measured = stage.measure(f"latency {case}", [*saves.values(), loop])
        answer.series += [one.named(f"{one.name}, {case}") for one in measured]
        for jobs, save in saves.items():
            least = requests * seconds / connections(jobs)
            took = answer.of(f"{save.name}, {case}").seconds
            answer.notes.append(
                f"{save.name}, {case}: {took / least:.2f} of the {least:.2f} s of {requests} round trips over "
                f"{connections(jobs)} connections"
            )
        answer.compare(f"{saves[_JOBS[-1]].name}, {case}", f"{loop.name}, {case}", _TARGET)
    return answer
