"""The stage of all questions: directories, the registry, and the corpora in it."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import benchmarks
from benchmarks.harness import Series, measure
from benchmarks.process import Command
from benchmarks.recipes import CORPORA
from tests.fakes.docker_registry import docker_registry

#: The directory from which `python -m` finds what is measured.
ROOT = Path(benchmarks.__file__).parent.parent


@dataclass(frozen=True, slots=True)
class Corpus:
    """A corpus in the registry: its images (`repository:tag`), and its blobs, which lie on the disk too."""

    directory: Path
    images: tuple[str, ...]
    blobs: tuple[dict[str, Any], ...]
    documents_size: int

    @property
    def size(self) -> int:
        """All its bytes, each once."""
        return self.documents_size + sum(int(blob["size"]) for blob in self.blobs)

    @property
    def layers(self) -> tuple[dict[str, Any], ...]:
        """The blobs that are no config; every copy of the corpus holds them as they are."""
        return tuple(blob for blob in self.blobs if "layer" in blob["mediaType"] or "rootfs" in blob["mediaType"])

    def path(self, blob: dict[str, Any]) -> Path:
        """The path of a blob."""
        return self.directory / "blobs" / str(blob["digest"]).removeprefix("sha256:")

    def list_file(self, registry: str, count: int | None = None) -> Path:
        """Write an image list that names its images, or the first ones, at a registry."""
        path = self.directory / f"images-{count or 'all'}-{registry.replace(':', '-')}.txt"
        path.write_text("".join(f"{registry}/{image}\n" for image in self.images[:count]))
        return path

    def yaml_file(self, registry: str, count: int | None = None) -> Path:
        """Write the same list as `skopeo sync` reads it."""
        path = self.list_file(registry, count).with_suffix(".yaml")
        names = dict(image.rpartition(":")[::2] for image in self.images[:count])
        document = {registry: {"tls-verify": False, "images": {name: [tag] for name, tag in names.items()}}}
        path.write_text(json.dumps(document, indent=1))  # JSON is YAML too
        return path

    def urls_file(self, registry: str) -> Path:
        """Write the URLs of its blobs at a registry."""
        path = self.directory / f"urls-{registry.replace(':', '-')}.txt"
        path.write_text(
            "".join(f"http://{registry}/v2/{blob['repository']}/blobs/{blob['digest']}\n" for blob in self.blobs)
        )
        return path


@dataclass(frozen=True, slots=True)
class Line:
    """A line to a registry: seconds added to each exchange, bytes a second of each connection and of all; 0: any."""

    latency: float
    rate: float = 0.0
    shared_rate: float = 0.0

    def seconds(self, corpus: Corpus, connections: int) -> float:
        """The seconds that the bytes of a corpus take at least: a blob comes over one connection."""
        bounds = [corpus.size / self.shared_rate] if self.shared_rate else [0.0]
        if self.rate:
            longest = max(int(blob["size"]) for blob in corpus.blobs)
            bounds += [corpus.size / (connections * self.rate), longest / self.rate]
        return max(bounds)


class Stage:
    """One session of measurements below a directory, with a registry at HOST:PORT `registry`."""

    def __init__(self, directory: Path, registry: str, runs: int, say: Callable[[str], None]) -> None:
        self.directory = directory
        self.registry = registry
        self.runs = runs
        self.say = say
        self._outputs = directory / "runs" / str(os.getpid())

    def corpus(self, name: str) -> Corpus:
        """Return a corpus, building and pushing it where that was not done yet."""
        directory = self.directory / "corpora" / f"{name}-{_recipe(name)}"
        told = directory / "corpus.json"
        if not told.exists():
            self.say(f"building the corpus {name}")
            directory.mkdir(parents=True, exist_ok=True)
            subprocess.run(
                [sys.executable, "-m", "benchmarks.build", name, str(directory), self.registry], check=True, cwd=ROOT
            )
        found = json.loads(told.read_text())
        return Corpus(directory, tuple(found["images"]), tuple(found["blobs"]), found["documents_size"])

    def measure(
        self, question: str, commands: Sequence[Command], *, runs: int | None = None, writes: int = 0
    ) -> list[Series]:
        """Measure commands in turn, each in a directory of its own; `writes` is about how many bytes each writes."""
        return measure(commands, self._outputs / question, self.runs if runs is None else runs, writes, self.say)


@contextmanager
def open_stage(directory: Path, runs: int, say: Callable[[str], None]) -> Iterator[Stage]:
    """Start the registry below the directory; it ends with the block."""
    os.environ["PYTHONPATH"] = str(ROOT)
    place = directory / "registry"
    place.mkdir(parents=True, exist_ok=True)
    with docker_registry(place) as address:
        try:
            yield Stage(directory, address, runs, say)
        finally:
            shutil.rmtree(directory / "runs", ignore_errors=True)


@contextmanager
def far_away(registry: str, line: Line) -> Iterator[str]:
    """Relay to a registry over a line; half of its latency is in each direction."""
    numbers = (line.latency / 2, line.rate, line.shared_rate)
    argv = (sys.executable, "-m", "benchmarks.programs.relay", registry, *map(str, numbers))
    with subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            address = process.stdout.readline().strip()
            if not address:
                raise RuntimeError("the relay did not start")
            yield address
        finally:
            process.terminate()


def _recipe(name: str) -> str:
    """Name a corpus by its recipe, so that a changed one is built again."""
    source = b"".join((Path(__file__).parent / part).read_bytes() for part in ("build.py", "layers.py"))
    return hashlib.sha256(repr(CORPORA[name]()).encode() + source).hexdigest()[:12]
