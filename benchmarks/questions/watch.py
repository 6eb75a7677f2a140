"""Standing jobs that find everything at their target."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Answer
from benchmarks.questions.mirror_unchanged import made_up
from benchmarks.stage import ROOT, Stage

ASKS = (
    "peak memory of mirror --watch -j 20 after one round with nothing to do on 1,000 images; growth over 1,000 rounds"
)
_IMAGES, _ROUNDS, _IMAGES_A_ROUND = 1000, 1000, 20
_LIMIT, _GROWTH = 95.0, 5.0


def ask(stage: Stage) -> Answer:
    """Measure one round as a process of its own, then many on a clock on which waiting takes no time."""
    place = stage.directory / "watch"
    place.mkdir(exist_ok=True)
    answer = Answer("watch")
    answer.bound("peak MB after one round", one_round(place), _LIMIT)
    sizes = many_rounds(place)
    # The first rounds import, and fill caches of a fixed size.
    answer.bound("growth in MB over 1,000 rounds", sizes[-1] - sizes[0], _GROWTH)
    answer.notes.append(f"MB after each {_ROUNDS // 10} rounds: {', '.join(map(str, sizes))}")
    return answer


def one_round(place: Path) -> float:
    """Watch until the first round has ended; return the peak of the memory in MB."""
    with job_file(place, _IMAGES) as path:
        flags = (
            "mirror",
            "-c",
            str(path),
            "--watch",
            "-j",
            "20",
            "--state",
            f"{place / 'one.state'}",
            "--metrics",
            "0",
        )
        argv = (sys.executable, "-m", "hangar_async", *flags, "--log-format", "json")
        with subprocess.Popen(argv, cwd=place, stderr=subprocess.PIPE, text=True) as process:
            assert process.stderr is not None
            ended = next(line for line in map(json.loads, process.stderr) if line["event"] == "job-ended")
            status = dict(line.split(":", 1) for line in Path(f"/proc/{process.pid}/status").read_text().splitlines())
            process.send_signal(signal.SIGTERM)
            process.communicate()
    (place / "one.state").unlink()
    assert (ended["status"], process.returncode) == (0, 0), ended
    return int(status["VmHWM"].split()[0]) * 1024 / 1e6


def many_rounds(place: Path) -> list[float]:
    """Return the memory in MB after each tenth of the rounds."""
    with job_file(place, _IMAGES_A_ROUND) as path:
        argv = (sys.executable, "-m", "benchmarks.programs.watch_rounds", str(path), str(_ROUNDS))
        done = subprocess.run(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True)
        path.with_suffix(".state").unlink()
    return [json.loads(line)["mb"] for line in done.stdout.splitlines()]


@contextmanager
def job_file(place: Path, images: int) -> Iterator[Path]:
    """Write a job of so many images of a registry that makes them up, which runs during the block."""
    with made_up() as registry:
        path = place / "mirror.yaml"
        tags = ", ".join(f"v1.{number}.0" for number in range(images))
        sides = f"from: {registry}/app, to: '{registry}/copies/app'"
        path.write_text(f"version: 1\njobs: [{{name: made, every: 1h, {sides}, tags: [{tags}], referrers: none}}]\n")
        yield path
