"""The questions of slow lines: our save beside what the line allows, and a loop of skopeo."""

from __future__ import annotations

from collections.abc import Mapping

from benchmarks import ours, peers
from benchmarks.checks import blobs_in
from benchmarks.harness import Answer
from benchmarks.stage import Line, Stage, far_away
from hangar_async.config.jobs import BLOBS, MAX_REQUESTS, JobLimits

#: The runs of a loop that takes long, and whose time the line decides.
_FEW = 1


def connections(jobs: int) -> int:
    """The connections of so many jobs."""
    return JobLimits.chosen(jobs, BLOBS, MAX_REQUESTS).requests


def ask_line(stage: Stage, question: str, line: Line, targets: Mapping[int, float | None]) -> Answer:
    """Measure each number of jobs with its target, in parts of what the line allows, and what reads without saving."""
    corpus = stage.corpus("lines")
    with far_away(stage.registry, line) as address:
        images = corpus.list_file(address)
        saves = {jobs: ours.save(images, corpus, "dir", jobs) for jobs in targets}
        reads = {jobs: ours.read(corpus, address, connections(jobs)) for jobs in targets}
        loop = peers.skopeo_loop(images, blobs_in("cache/share/sha256", corpus.layers))
        commands = [*saves.values(), *reads.values()]
        series = stage.measure(question, commands, writes=corpus.size)
        loops = stage.measure(f"{question} loop", [loop], runs=min(_FEW, stage.runs), writes=corpus.size)
    answer = Answer(question, [*series, *(one.named(f"{one.name}, {len(one.runs)} run") for one in loops)])
    answer.notes.append(f"{len(corpus.images)} images, {corpus.size / 1e6:.0f} MB; a layer comes over one connection")
    for jobs, target in targets.items():
        count, least = connections(jobs), line.seconds(corpus, connections(jobs))
        save, read = answer.of(saves[jobs].name), answer.of(reads[jobs].name)
        if target is not None:
            answer.bound(f"{save.name} / the {least:.2f} s of its {count} connections", save.seconds / least, target)
        of_loop = f"{save.seconds / loops[0].seconds:.2f} of the time of the loop"
        of_bound = f"{save.seconds / least:.2f} of the {least:.2f} s of its {count} connections"
        answer.notes.append(f"{save.name}: {of_bound}, {of_loop}")
        answer.notes.append(f"{read.name}, and not saved: {read.more('inner') / least:.2f} of the same")
    return answer
