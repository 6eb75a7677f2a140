"""Images over a line that gives each connection little, by one worker of a cluster and by two."""

from __future__ import annotations

from contextlib import ExitStack

from benchmarks import ours
from benchmarks.checks import copied_to
from benchmarks.harness import Answer
from benchmarks.questions.load import Far
from benchmarks.stage import Line, Stage, far_away
from tests.engine.cluster.rig import open_cluster

ASKS = "mirror --cluster with two workers, beside one: 2.4 GB at 5 MB/s a connection, 20 requests a worker"
LINE = Line(0.0, rate=5e6)
_LEAST = 1.8
_COUNTS = (2, 1)


def ask(stage: Stage) -> Answer:
    """Measure: each run has a target that is new and empty; the workers stay."""
    return ask_workers(stage, "cluster_workers", LINE)


def ask_workers(stage: Stage, question: str, line: Line, count: int | None = None) -> Answer:
    """Measure a line, with the first images of the corpus or all."""
    corpus = stage.corpus("even")
    names = {name: name for name in corpus.images[:count]}
    with ExitStack() as stack:
        source = stack.enter_context(far_away(stage.registry, line))
        far = stack.enter_context(Far(stage.directory / "far"))
        images = corpus.list_file(source, count)
        check = far.renewed(lambda host: copied_to(stage.registry, host, names))
        commands = []
        for workers in _COUNTS:
            cluster = stack.enter_context(open_cluster(workers))
            flags = f"-j 20 --requests 20 --cluster {cluster.scheduler_address}"
            commands.append(ours.mirror_on(images, far.address, flags, check, f"mirror, {workers} workers"))
        answer = Answer(question, stage.measure(question, commands, writes=corpus.size))
    answer.inner_speed(commands[0].name, commands[1].name, _LEAST)
    return answer
