"""Large images from registry to registry, with and without a cluster in the process."""

from __future__ import annotations

from benchmarks import ours
from benchmarks.checks import copied_to
from benchmarks.harness import Answer
from benchmarks.questions.load import Far
from benchmarks.stage import Stage

ASKS = "mirror --cluster local of 16 images with 1.2 GB, beside the same without a cluster"
_MOST = 1.15


def ask(stage: Stage) -> Answer:
    """Measure: each run has a target that is new and empty."""
    corpus = stage.corpus("large")
    names = {name: name for name in corpus.images}
    images = corpus.list_file(stage.registry)
    with Far(stage.directory / "far") as far:
        check = far.renewed(lambda host: copied_to(stage.registry, host, names))
        plain = ours.mirror_on(images, far.address, "-j 4", check, "mirror -j 4")
        local = ours.mirror_on(images, far.address, "-j 4 --cluster local", check, "mirror -j 4 --cluster local")
        answer = Answer("cluster_local", stage.measure("cluster_local", [plain, local], writes=corpus.size))
    answer.compare(local.name, plain.name, _MOST)
    seconds = [answer.of(one.name).more("inner") for one in (local, plain)]
    answer.notes.append(f"without the start of Python and dask: {seconds[0]:.2f} and {seconds[1]:.2f} s")
    return answer
