"""Compares this checkout with another one: `python -m benchmarks.paired OTHER [ROW ...] [--pairs N] [--json FILE]`.

Both run in turn, in alternating order, at least 15 pairs a row. Printed for each row: the median of the ratios (this by
other), its 95 % interval (order statistics, without any assumption about the distribution), and both medians. A row is
fine where the lower bound of the interval is at most 1.03.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import asdict, dataclass, replace
from math import comb
from pathlib import Path
from statistics import median

from benchmarks import ours, servers
from benchmarks.checks import Check
from benchmarks.process import Command, Run, run
from benchmarks.questions.line_slow import LINE
from benchmarks.questions.load import Far, tags_at
from benchmarks.questions.serve import curls
from benchmarks.stage import ROOT, Corpus, Stage, far_away, open_stage

_LIMIT = 1.03
_LEAST_PAIRS = 15


@dataclass(frozen=True, slots=True)
class Row:
    """The pairs of one row: the values of this checkout and of the other one, in seconds or MB."""

    name: str
    this: tuple[float, ...]
    other: tuple[float, ...]

    @property
    def ratios(self) -> list[float]:
        return sorted(ours / theirs for ours, theirs in zip(self.this, self.other, strict=True))

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of the median ratio: the closest two order statistics that hold it with that chance."""
        ratios = self.ratios
        count, tail, rank = len(ratios), 0.0, 0
        while rank < count // 2 and (tail := tail + comb(count, rank) / 2**count) <= 0.025:
            rank += 1
        rank = max(rank - 1, 0)
        return ratios[rank], ratios[count - 1 - rank]

    @property
    def is_fine(self) -> bool:
        return self.interval[0] <= _LIMIT

    def __str__(self) -> str:
        low, high = self.interval
        verdict = "" if self.is_fine else "  MISSED"
        return (
            f"{self.name:<24} {median(self.ratios):6.3f}  [{low:.3f}, {high:.3f}]  "
            f"{median(self.this):8.3f} {median(self.other):8.3f}{verdict}"
        )


class Comparison:
    """Runs commands of this checkout and of the other one in turn."""

    def __init__(self, stage: Stage, other: Path, pairs: int) -> None:
        self.stage = stage
        self.other = other
        self.pairs = pairs

    def command(self, command: Command, checkout: Path) -> Command:
        """Let a command run the code of a checkout."""
        return replace(command, argv=("env", f"PYTHONPATH={checkout}", *command.argv))

    def rows(self, name: str, this: Command, other: Command, writes: int = 0, *, memory: bool = False) -> Iterator[Row]:
        """Measure two commands: a row of seconds, one of processor seconds, or one of peak memory alone."""
        taken: tuple[list[Run], list[Run]] = ([], [])
        for number in range(self.pairs + 1):
            order = (0, 1) if number % 2 else (1, 0)
            for which in order:
                directory = self.stage.directory / "paired" / f"{name}-{number}-{which}"
                result = run((this, other)[which], directory, writes)
                if number:
                    taken[which].append(result)
        if memory:
            yield self._row(name, taken, lambda one: one.peak)
            return
        yield self._row(name, taken, lambda one: one.seconds)
        yield self._row(f"{name}, cpu", taken, lambda one: one.cpu)

    def both(self, name: str, command: Command, writes: int = 0, *, memory: bool = False) -> Iterator[Row]:
        """Measure one command with the code of both checkouts."""
        this, other = (self.command(command, checkout) for checkout in (ROOT, self.other))
        return self.rows(name, this, other, writes, memory=memory)

    def _row(self, name: str, taken: tuple[list[Run], list[Run]], value: Callable[[Run], float]) -> Row:
        this, other = (tuple(value(one) for one in runs) for runs in taken)
        return Row(name, this, other)


def _save(kind: str, corpus_name: str, name: str) -> Callable[[Comparison], Iterator[Row]]:
    def measure(comparison: Comparison) -> Iterator[Row]:
        corpus = comparison.stage.corpus(corpus_name)
        command = ours.save(corpus.list_file(comparison.stage.registry), corpus, kind, 4)
        return comparison.both(name, command, corpus.size)

    return measure


def _line_slow(comparison: Comparison) -> Iterator[Row]:
    corpus = comparison.stage.corpus("lines")
    with far_away(comparison.stage.registry, LINE) as address:
        command = ours.save(corpus.list_file(address), corpus, "dir", 1)
        yield from comparison.both("line_slow, -j 1", command, corpus.size)


def _memory(comparison: Comparison) -> Iterator[Row]:
    corpus = comparison.stage.corpus("large")
    images = corpus.list_file(comparison.stage.registry)
    for kind in ("dir", "gzip"):
        command = ours.save(images, corpus, kind, 20)
        yield from comparison.both(f"memory, {kind} -j 20", command, corpus.size, memory=True)


def _load(comparison: Comparison) -> Iterator[Row]:
    stage = comparison.stage
    corpus = stage.corpus("large")
    with _archive(stage, corpus) as archive, Far(stage.directory / "far") as far:
        check: Check = far.renewed(tags_at(corpus.images))
        yield from comparison.both("load", ours.load(archive, far.address, 4, check), corpus.size)


def _serve(comparison: Comparison) -> Iterator[Row]:
    stage = comparison.stage
    corpus = stage.corpus("large")
    with _archive(stage, corpus) as archive, ExitStack() as stack:
        commands: list[Command] = []
        for name, checkout in (("this", ROOT), ("other", comparison.other)):
            server = stack.enter_context(servers.serve(name, archive, stage.directory, checkout))
            commands.append(curls(stage, corpus, server))
        yield from (row for row in comparison.rows("serve", commands[0], commands[1]) if "cpu" not in row.name)


def _help(comparison: Comparison) -> Iterator[Row]:
    argv = (sys.executable, "-m", "hangar_async", "save", "--help")
    return comparison.both("help", Command("save --help", argv))


@contextmanager
def _archive(stage: Stage, corpus: Corpus) -> Iterator[Path]:
    """Save a corpus into one archive."""
    images = corpus.list_file(stage.registry)
    words = ["save", "-f", str(images), "-a", "all", "-j", "4", "-d", "paired.tar.gz", "--quiet"]
    subprocess.run([sys.executable, "-m", "hangar_async", *words], cwd=stage.directory, check=True)
    archive = stage.directory / "paired.tar.gz"
    try:
        yield archive
    finally:
        archive.unlink()


ROWS: dict[str, Callable[[Comparison], Iterator[Row]]] = {
    "save_dir": _save("dir", "large", "save_dir"),
    "save_archive": _save("gzip", "large", "save_archive"),
    "save_tiny": _save("dir", "tiny", "save_tiny"),
    "line_slow": _line_slow,
    "load": _load,
    "serve": _serve,
    "help": _help,
    "memory": _memory,
}


#: Rows of minutes a pair, which are measured only where they are named.
_LONG = ("line_slow",)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.paired", description=__doc__)
    parser.add_argument("other", type=Path, help="a checkout to compare this one with")
    parser.add_argument("names", nargs="*", metavar="ROW", choices=[[], *ROWS], help=", ".join(ROWS))
    parser.add_argument("--pairs", type=int, default=_LEAST_PAIRS)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep", type=Path, metavar="DIR", help="where corpora and registry are kept")
    words = parser.parse_args(argv)
    place = nullcontext(words.keep) if words.keep else tempfile.TemporaryDirectory(prefix="hangar-paired-")
    rows: list[Row] = []
    with place as directory:
        Path(directory).mkdir(parents=True, exist_ok=True)
        with open_stage(Path(directory).resolve(), 1, lambda text: None) as stage:
            comparison = Comparison(stage, words.other.resolve(), words.pairs)
            print(f"{'row':<24} {'ratio':>6}  {'95 % interval':<15} {'this':>8} {'other':>8}", flush=True)
            for name in words.names or (name for name in ROWS if name not in _LONG):
                for row in ROWS[name](comparison):
                    rows.append(row)
                    print(row, flush=True)
                    if words.json:
                        words.json.write_text(json.dumps([asdict(row) | {"interval": row.interval} for row in rows]))
    return int(not all(row.is_fine for row in rows))


if __name__ == "__main__":
    sys.exit(main())
