"""Blobs served to clients."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from statistics import median

from benchmarks import servers
from benchmarks.harness import Answer
from benchmarks.process import Command, RunFailed
from benchmarks.servers import Server
from benchmarks.stage import Corpus, Stage

ASKS = "serve of 1.2 GB from a cache directory and from archives in parts, beside nginx; 200 clients at once"
#: The part of nginx's throughput that each is to reach; None where no target is set.
_TARGETS = {"serve cache": 0.7, "serve gzip parts": 0.5, "serve zstd parts": None}
_CURLS = 4
_CROWD = 200
_LIMIT = 130.0
_PART = "300M"
#: Of about this size is what each of a crowd pulls.
_SHARE = 13_000_000


def ask(stage: Stage) -> Answer:
    """Measure: 4 curls share all blobs; every server runs all the time, so that what it has hashed once it knows.

    What the first pass costs, in which every blob is hashed, is told besides.
    """
    corpus = stage.corpus("large")
    with _saved(stage, corpus) as places:
        with ExitStack() as stack:
            running = [stack.enter_context(servers.nginx(corpus, stage.directory / "nginx"))]
            for name, place in places.items():
                running.append(stack.enter_context(servers.serve(name, place, stage.directory)))
            first = {server.name: _seconds(stage, curls(stage, corpus, server)) for server in running[1:]}
            answer = Answer("serve", stage.measure("serve", [curls(stage, corpus, server) for server in running]))
        _crowds(stage, corpus, places, answer)
    for name, target in _TARGETS.items():
        nginx = answer.of("nginx").seconds
        if target is None:
            answer.notes.append(f"{name}: {nginx / answer.of(name).seconds:.2f} of the speed of nginx")
        else:
            answer.speed(name, "nginx", target)
        answer.notes.append(f"{name}, first pass, everything hashed: {nginx / first[name]:.2f} of the speed of nginx")
    return answer


def _crowds(stage: Stage, corpus: Corpus, places: dict[str, Path], answer: Answer) -> None:
    """Let 200 clients come at once, then as many beside 200 slow ones, each time to a new server."""

    def start(name: str) -> AbstractContextManager[Server]:
        if name in places:
            return servers.serve(name, places[name], stage.directory)
        return servers.nginx(corpus, stage.directory / "nginx")

    for kind, slow in (("clients", 0), ("clients beside as many slow ones", _CROWD)):
        for name in (*places, "nginx"):
            taken, peaks = [], []
            for _ in range(min(stage.runs, 3)):
                with start(name) as server:
                    taken.append(_seconds(stage, _crowd(corpus, server, slow)))
                    peaks.append(server.peak)
            stage.say(f"  {_CROWD} {kind}: {name}: {median(taken):.2f} s, {max(peaks):.1f} MB")
            answer.notes.append(f"{name} takes {median(taken):.2f} s for {_CROWD} {kind}")
            if name in places:
                answer.bound(f"peak MB of {name}, {_CROWD} {kind}", max(peaks), _LIMIT)


@contextmanager
def _saved(stage: Stage, corpus: Corpus) -> Iterator[dict[str, Path]]:
    """Save the corpus: the cache, and two archives in parts."""
    images = corpus.list_file(stage.registry)
    place = stage.directory / "served"
    place.mkdir(exist_ok=True)
    places = {"serve cache": place / "saved-image-cache"}
    for kind, name in (("gzip", "served.tar.gz"), ("zstd", "served.tar.zstd")):
        words = ("-f", images, "-c", kind, "-d", name, "-j4", "--part", "--part-size", _PART, "--quiet")
        subprocess.run((sys.executable, "-m", "hangar_async", "save", *words), check=True, cwd=place)
        places[f"serve {kind} parts"] = place / name
    # The archives were written past the page cache: a disk is not what is measured.
    for path in place.glob("served.tar*"):
        with path.open("rb") as file:
            while file.read(1 << 20):
                pass
    yield places
    for path in place.glob("served.tar*"):
        path.unlink()


def curls(stage: Stage, corpus: Corpus, server: Server) -> Command:
    """Pull all blobs, the largest first, by 4 curls that share them."""
    blobs = sorted(corpus.blobs, key=lambda blob: -int(blob["size"]))
    files = []
    for number in range(_CURLS):
        lines = [f'url = "{server.url(blob)}"\noutput = "/dev/null"\n' for blob in blobs[number::_CURLS]]
        file = stage.directory / f"{server.name.replace(' ', '-')}-{number}.curl"
        file.write_text('write-out = "%{http_code} %{size_download}\\n"\n' + "".join(lines))
        files.append(str(file))
    script = 'printf "%s\\0" "$@" | xargs -0 -P "$#" -n 1 curl -sSf -K > told'
    size = sum(int(blob["size"]) for blob in blobs)

    def check(directory: Path) -> None:
        told = [line.split() for line in (directory / "work" / "told").read_text().splitlines()]
        if {status for status, _ in told} != {"200"} or sum(int(one) for _, one in told) != size:
            raise RunFailed(f"{server.name} did not serve all blobs")

    return Command(server.name, ("sh", "-c", script, "sh", *files), check=check)


def _crowd(corpus: Corpus, server: Server, slow: int) -> Command:
    """Let a crowd pull, each one blob of about 13 MB."""
    chosen = sorted(corpus.blobs, key=lambda blob: abs(int(blob["size"]) - _SHARE))[:16]
    wanted = [word for blob in chosen for word in (server.url(blob).partition(server.address)[2], str(blob["size"]))]
    argv = (sys.executable, "-m", "benchmarks.programs.clients", server.address, str(_CROWD), str(slow), *wanted)
    return Command(f"{server.name}, {_CROWD} clients", argv)


def _seconds(stage: Stage, command: Command) -> float:
    began = time.monotonic()
    done = subprocess.run(command.argv, cwd=stage.directory, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RunFailed(f"{command.name} ended with status {done.returncode}: {done.stderr[-2000:]}")
    return time.monotonic() - began
