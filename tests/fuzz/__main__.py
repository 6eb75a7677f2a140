"""Fuzzes the parsers: `python -m tests.fuzz [TARGET...] [--seconds N] [--merge]`; needs `pip install -e '.[fuzz]'`.

Finds are in `.fuzz/TARGET/`: `found-*` are inputs that break something. Inputs that reach new code are committed
under `corpus/TARGET/`, named by its SHA-1; `--merge` adds the fewest inputs that reach as much as all that were found.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.seeds import CORPUS, seeds
from tests.fuzz.targets import TARGETS

_WORK = Path(".fuzz")
#: Seconds for one input, and MiB for the whole process, which needs a good hundred by itself.
_LIMITS = ("-timeout=10", "-rss_limit_mb=400")
_LARGEST = 1 << 16
#: Bytes of the corpus of one target, if it can be.
_LARGEST_CORPUS = 30_000


def main() -> int:
    """Fuzz the targets one after the other; return 1 where an input was found that breaks one."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"some of: {', '.join(TARGETS)} (all of them)")
    parser.add_argument("--seconds", type=int, default=60, help="how long each target is fuzzed (60)")
    parser.add_argument("--merge", action="store_true", help="add to the corpus what reaches more, instead")
    options = parser.parse_args()
    unknown = [target for target in options.targets if target not in TARGETS]
    if unknown:
        parser.error(f"no target {unknown[0]}; there are: {', '.join(TARGETS)}")
    failed = []
    for target in options.targets or TARGETS:
        if options.merge:
            _merge(target)
        elif _fuzz(target, options.seconds):
            failed.append(target)
    if failed:
        sys.stderr.write(f"broken: {', '.join(failed)}; see {_WORK}/TARGET/found-*\n")
    return 1 if failed else 0


def _fuzz(target: str, seconds: int) -> int:
    place = _prepared(target)
    flags = (*_LIMITS, f"-max_len={_LARGEST}", f"-max_total_time={seconds}", f"-artifact_prefix={place}/found-")
    sys.stderr.write(f"== {target}\n")
    return _run(target, *flags, "-print_final_stats=1", place / "work", place / "seeds", CORPUS / target)


def _merge(target: str) -> None:
    """Add to the corpus what reaches more than it and the seeds do, as few and as short inputs as that needs."""
    place = _prepared(target)
    kept = _fewest(target, place)
    if sum(map(len, kept)) > _LARGEST_CORPUS:
        kept = _fewest(target, place, "-use_counters=0")
    _write(CORPUS / target, kept)


def _fewest(target: str, place: Path, *flags: str) -> set[bytes]:
    """Choose what is needed to reach all that is reached; how often counts too, unless a flag says otherwise."""
    fewest = place / "fewest"
    shutil.rmtree(fewest, ignore_errors=True)
    for directory in (place / "seeds", CORPUS / target):
        shutil.copytree(directory, fewest, dirs_exist_ok=True)
    _run(target, "-merge=1", *flags, *_LIMITS, f"-max_len={_LARGEST}", fewest, place / "work")
    return {path.read_bytes() for path in fewest.iterdir()} - set(seeds(target))


def _prepared(target: str) -> Path:
    place = _WORK / target
    for directory in (place / "work", CORPUS / target):
        directory.mkdir(parents=True, exist_ok=True)
    _write(place / "seeds", seeds(target))
    return place


def _write(directory: Path, inputs: Iterable[bytes]) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    for data in inputs:
        (directory / hashlib.sha1(data).hexdigest()).write_bytes(data)


def _run(target: str, *arguments: str | Path) -> int:
    return subprocess.run(
        [sys.executable, "-m", "tests.fuzz.run", target, *map(str, arguments)], check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
