"""Memory and processor time of one process, by the number of images."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Answer, Series
from benchmarks.process import Command, run
from benchmarks.programs.computed_registry import REPOSITORY, TAG
from benchmarks.stage import ROOT, Stage

ASKS = "memory and processor time an image: 2,000 and 20,000 images that a registry computes, 100,000 for a mirror"
FEW, MANY, MOST = 2_000, 20_000, 100_000
_PEAK = 300.0
_KB_AN_IMAGE = 2.0
_GROWTH = 1.15
_ARCHIVE = "saved.tar.gz"


def ask(stage: Stage) -> Answer:
    """Measure: each command once, since it is the growth that counts."""
    answer = Answer("scale")
    with computed_registry("full") as source, computed_registry("empty") as target:
        for count in (FEW, MANY, MOST):
            place = stage.directory / "scale" / str(count)
            place.mkdir(parents=True, exist_ok=True)
            for command in commands(source, target, count, place):
                one = run(command, place / command.name.replace(" ", "-"))
                stage.say(f"  {command.name:<28} {one.seconds:8.2f} s {one.cpu:8.2f} cpu-s {one.peak:7.1f} MB")
                answer.series.append(Series(command.name, (one,)))
    for verb in ("save", "load", "load-validate", "mirror --dry-run"):
        _compare(answer, verb, MANY)
    _compare(answer, "mirror --dry-run", MOST)
    return answer


def commands(source: str, target: str, count: int, place: Path) -> Iterator[Command]:
    """Return the commands for so many images; those that read an archive take that of the save."""
    images = place / "images.txt"
    images.write_text("".join(f"{source}/{REPOSITORY.format(number)}:{TAG}\n" for number in range(count)))
    archive = str(place / f"save-{count}" / "work" / _ARCHIVE)
    copy = ("mirror", "-f", str(images), "-d", target, "--dry-run", "-a", "all", "--os", "all")
    if count != MOST:
        yield _command("save", count, ("save", "-f", str(images), "-d", _ARCHIVE, "-c", "gzip"))
        yield _command("load", count, ("load", "-s", archive, "-d", target))
        yield _command("load-validate", count, ("load-validate", "-s", archive, "-d", source))
    yield _command("mirror --dry-run", count, copy)


def _command(verb: str, count: int, words: tuple[str, ...]) -> Command:
    argv = (sys.executable, "-m", "hangar_async", *words, "-j", "20", "--quiet")
    return Command(f"{verb} {count}", argv)


def _compare(answer: Answer, verb: str, count: int) -> None:
    few, many = answer.of(f"{verb} {FEW}"), answer.of(f"{verb} {count}")
    answer.bound(f"peak MB of {verb}, {count:,} images", many.peak, _PEAK)
    more = (many.peak - few.peak) * 1e3 / (count - FEW)
    answer.bound(f"KB an image of {verb}, from {FEW:,} to {count:,}", more, _KB_AN_IMAGE)
    growth = (many.cpu / count) / (few.cpu / FEW)
    answer.bound(f"processor time an image of {verb}, {count:,} to {FEW:,}", growth, _GROWTH)


@contextmanager
def computed_registry(kind: str) -> Iterator[str]:
    """Start a registry whose images are computed; its address is HOST:PORT."""
    argv = (sys.executable, "-m", "benchmarks.programs.computed_registry", kind)
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()
