"""An archive into a registry."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks import ours, peers
from benchmarks.checks import Check, held_by, tagged_at
from benchmarks.harness import Answer
from benchmarks.stage import Corpus, Stage
from tests.fakes.docker_registry import docker_registry

ASKS = "load of 1.2 GB, beside tar and a loop of skopeo, and beside curl with a PUT for each blob; and a second load"
_LIMIT = 130.0
_CACHE = "saved-image-cache"


def ask(stage: Stage) -> Answer:
    """Measure: each run has a registry that is new and empty, but for the second load, which finds all there."""
    corpus = stage.corpus("large")
    with saved_archive(stage, corpus) as archive, Far(stage.directory / "far") as far:
        cache = stage.directory / _CACHE
        copies = list(_copies(cache))
        shutil.rmtree(cache)
        whole, blobs, copied = tags_at(corpus.images), _blobs_at(corpus), tags_at([to for _, to in copies])
        lines = stage.directory / "copies.txt"
        lines.write_text("".join(f"{source} {to}\n" for source, to in copies))
        first, wide = (ours.load(archive, far.address, jobs, far.renewed(whole)) for jobs in (4, 20))
        loop = peers.unpack_and_skopeo(archive, lines, far.address, far.renewed(copied))
        curl = peers.curl_put(corpus, far.address, far.renewed(blobs))
        answer = Answer("load", stage.measure("load", [first, wide, loop, curl], writes=corpus.size))

        def stays(_: Path) -> None:
            whole(far.host)

        again = ours.load(archive, far.address, 4, stays, "second load")
        inside = ours.load_inside(archive, far.address, 4, stays, "second load by the library")
        stage.measure("load-again", [ours.load(archive, far.address, 4, stays)], runs=0)
        answer.series += stage.measure("load-again", [again, inside])
    answer.compare(first.name, loop.name, 0.8)
    answer.speed(first.name, curl.name, 0.9)
    again_ratio = answer.of(again.name).seconds / answer.of(first.name).seconds
    answer.bound(f"time of {again.name} / {first.name}", again_ratio, 0.05)
    inner = answer.of(inside.name).more("inner") / answer.of(first.name).seconds
    answer.notes.append(f"{again.name}: {inner:.3f} of the first, without the start of Python")
    for one in (first, wide):
        answer.bound(f"peak MB of {one.name}", answer.of(one.name).peak, _LIMIT)
    return answer


class Far:
    """A registry on the other side, whose address is in a file; a new one has the address of the earlier one."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._running = ExitStack()
        self.address = directory / "address"
        self.host = ""
        self._port = 0

    def __enter__(self) -> Far:
        shutil.rmtree(self._directory, ignore_errors=True)
        self.host = self._running.enter_context(docker_registry(self._directory, port=self._port))
        self._port = int(self.host.rpartition(":")[2])
        self.address.write_text(self.host)
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def renewed(self, check: Callable[[str], None]) -> Check:
        """Check what the registry has, then let an empty one take its place."""

        def renew(_: Path) -> None:
            check(self.host)
            self.__exit__()
            self.__enter__()

        return renew


def tags_at(images: Sequence[str]) -> Callable[[str], None]:
    return lambda host: tagged_at(host, images)(Path())


def _blobs_at(corpus: Corpus) -> Callable[[str], None]:
    return lambda host: held_by(host, "uploads/curl", corpus.blobs)(Path())


@contextmanager
def saved_archive(stage: Stage, corpus: Corpus) -> Iterator[Path]:
    """Save the corpus, and yield the archive; the cache is beside it, and both are removed at the end."""
    images = corpus.list_file(stage.registry)
    words = ["save", "-f", str(images), "-a", "all", "-j", "4", "-d", "large.tar.gz", "--quiet"]
    subprocess.run([sys.executable, "-m", "hangar_async", *words], cwd=stage.directory, check=True)
    archive = stage.directory / "large.tar.gz"
    try:
        yield archive
    finally:
        shutil.rmtree(stage.directory / _CACHE, ignore_errors=True)
        archive.unlink()


def _copies(cache: Path) -> Iterator[tuple[str, str]]:
    """Make the pairs of source and target: skopeo 1.9 finds manifests of Docker's types by their folders alone."""
    index = json.loads((cache / "index.json").read_text())["manifests"]
    listed = json.loads((cache / "saved-images-list.json").read_text())["List"]
    for entry, image in zip(index, listed, strict=True):
        _, _, name = str(image["Source"]).partition("/")
        if entry["mediaType"].startswith("application/vnd.oci."):
            yield f"{cache.name}:{image['Source']}:{image['Tag']}", f"{name}:{image['Tag']}"
            continue
        for number, one in enumerate(image["Images"]):
            yield f"{cache.name}/{one['Folder']}", f"{name}:{image['Tag']}-{number}"
