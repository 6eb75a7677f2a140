"""A docker-archive into a registry: its layers are plain tars, and are compressed on their way."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.harness import Answer
from benchmarks.questions.load import Far, tags_at
from benchmarks.stage import Stage

ASKS = "load of a docker-archive of 0.2 GB in four layers, and of 0.5 GB in one and some small ones, beside skopeo copy"
#: The images of the corpus: one of several large layers, and one with a layer that has nearly all bytes.
_IMAGES = {"layers": "large/app-00", "layer": "large/app-09"}


def ask(stage: Stage) -> Answer:
    """Measure: each run has a registry that is new and empty."""
    answer = Answer("load_docker_archive")
    for name, repository in _IMAGES.items():
        with _saved(stage, repository) as archive, Far(stage.directory / "far") as far:
            image = f"{repository}:1.0"
            check = far.renewed(tags_at([image]))
            load = ours.load(archive, far.address, 4, check, f"load, large {name}")
            copy = peers.skopeo_copy(archive, image, far.address, check, f"skopeo copy, large {name}")
            answer.series += stage.measure(f"load_docker_archive-{name}", [load, copy], writes=archive.stat().st_size)
            answer.compare(load.name, copy.name, 1.0)
    return answer


@contextmanager
def _saved(stage: Stage, repository: str) -> Iterator[Path]:
    """Let skopeo make the archive of an image, and remove it at the end of the block."""
    stage.corpus("large")
    path = stage.directory / "docker-archive.tar"
    source, name = f"docker://{stage.registry}/{repository}:1.0", f"docker.io/{repository}:1.0"
    words = ["--insecure-policy", "--override-arch", "amd64", "copy", "--quiet", "--src-tls-verify=false"]
    path.unlink(missing_ok=True)
    try:
        subprocess.run(["skopeo", *words, source, f"docker-archive:{path}:{name}"], check=True)
        yield path
    finally:
        path.unlink(missing_ok=True)
