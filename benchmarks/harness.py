"""Runs commands in turn, with alternating order, and compares them."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.process import Command, Run, run

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Series:
    """All runs of one command that count."""

    name: str
    runs: tuple[Run, ...]

    @property
    def seconds(self) -> float:
        return median(one.seconds for one in self.runs)

    @property
    def cpu(self) -> float:
        return median(one.cpu for one in self.runs)

    @property
    def peak(self) -> float:
        """The highest of all runs: the largest process, MB."""
        return max(one.peak for one in self.runs)

    @property
    def tree_peak(self) -> float | None:
        peaks = [one.tree_peak for one in self.runs if one.tree_peak is not None]
        return max(peaks) if peaks else None

    def named(self, name: str) -> Series:
        """Return the same under another name."""
        return replace(self, name=name)

    def more(self, key: str) -> float:
        return median(one.more[key] for one in self.runs)


@dataclass(frozen=True, slots=True)
class Finding:
    """A number that a target is set for; `pairs` is the same as the median over the pairs of one round.

    Of findings with the same `choice` one is enough.
    """

    what: str
    value: float
    target: float
    at_least: bool = False
    pairs: float | None = None
    choice: str = ""

    @property
    def met(self) -> bool:
        return self.value >= self.target if self.at_least else self.value <= self.target


@dataclass(slots=True)
class Answer:
    """The answer to a question."""

    question: str
    series: list[Series] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    failed: str = ""

    def of(self, name: str) -> Series:
        return next(one for one in self.series if one.name == name)

    @property
    def met(self) -> bool:
        """Whether all targets are met, or one of those that are a choice."""
        alone = all(one.met for one in self.findings if not one.choice)
        choices = {one.choice for one in self.findings if one.choice}
        return alone and all(any(one.met for one in self.findings if one.choice == name) for name in choices)

    def compare(self, ours: str, theirs: str, target: float, choice: str = "") -> None:
        """Find ours in parts of theirs, by time: at most the target."""
        ratio = self._ratio(f"time of {ours} / {theirs}", ours, theirs, target, at_least=False)
        self.findings.append(replace(ratio, choice=choice))

    def speed(self, ours: str, theirs: str, target: float) -> None:
        """Find our speed in parts of theirs: at least the target."""
        self.findings.append(self._ratio(f"speed of {ours} / {theirs}", theirs, ours, target, at_least=True))

    def inner_speed(self, ours: str, theirs: str, target: float) -> None:
        """Find our speed in parts of theirs, without the start of Python where a program tells its seconds itself."""
        pairs = [_inner(b) / _inner(a) for a, b in zip(self.of(ours).runs, self.of(theirs).runs, strict=True)]
        value = median(map(_inner, self.of(theirs).runs)) / median(map(_inner, self.of(ours).runs))
        what = f"speed of {ours} / {theirs}, without the start of Python"
        self.findings.append(Finding(what, value, target, True, median(pairs)))

    def bound(self, what: str, value: float, target: float) -> None:
        """Find a number that has a bound."""
        self.findings.append(Finding(what, value, target))

    def record(self) -> dict[str, Any]:
        """Return it for a machine."""
        series = [asdict(one) for one in self.series]
        findings = [{**asdict(one), "met": one.met} for one in self.findings]
        return {
            "question": self.question,
            "series": series,
            "met": self.met,
            "findings": findings,
            "notes": self.notes,
            "failed": self.failed,
        }

    def _ratio(self, what: str, above: str, below: str, target: float, *, at_least: bool) -> Finding:
        first, second = self.of(above), self.of(below)
        pairs = median(a.seconds / b.seconds for a, b in zip(first.runs, second.runs, strict=True))
        return Finding(what, first.seconds / second.seconds, target, at_least, pairs)


def _inner(one: Run) -> float:
    return one.more.get("inner", one.seconds)


def measure(commands: Sequence[Command], directory: Path, runs: int, writes: int, say: Say) -> list[Series]:
    """Run all commands `runs` times, after one run of each that does not count; every other round backwards.

    `writes` is about how many bytes each will write.
    """
    taken: dict[str, list[Run]] = {command.name: [] for command in commands}
    for number in range(runs + 1):
        for command in commands if number % 2 else reversed(commands):
            one = run(command, directory / f"{number}-{re.sub('[^A-Za-z0-9]+', '-', command.name)}", writes)
            kind = f"run {number}" if number else "warm-up"
            say(f"  {kind:<8} {command.name:<28} {one.seconds:8.2f} s {one.cpu:8.2f} cpu-s {one.peak:7.1f} MB")
            if number:
                taken[command.name].append(one)
    return [Series(name, tuple(several)) for name, several in taken.items()]
