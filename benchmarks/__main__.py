"""Measures: `python -m benchmarks [NAME ...] [--runs N] [--json FILE] [--keep DIR]`."""

from __future__ import annotations

import argparse
import importlib
import json
import os
import pkgutil
import sys
import tempfile
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from benchmarks import questions
from benchmarks.harness import Answer
from benchmarks.process import RunFailed
from benchmarks.report import record, table, verdict
from benchmarks.stage import open_stage

_NAMES = [module.name for module in pkgutil.iter_modules(questions.__path__)]


def main() -> None:
    words = _parser().parse_args()
    names = words.names or _NAMES
    modules: dict[str, Any] = {name: importlib.import_module(f"benchmarks.questions.{name}") for name in names}
    answers: list[Answer] = []
    with _place(words.keep) as place, open_stage(Path(place), words.runs, _say) as stage:
        for name, module in modules.items():
            load = os.getloadavg()[0]
            _say(f"\n== {name}: {module.ASKS}")
            try:
                answer = module.ask(stage)
            except RunFailed as error:
                # One command that fails is no reason to measure nothing else.
                answer = Answer(name, failed=str(error))
            answer.notes.append(f"load before and after: {load:.1f}, {os.getloadavg()[0]:.1f}")
            answers.append(answer)
            _say(table(answer))
            if words.json:
                # Written after each answer: what was measured is not lost when a later question fails.
                words.json.write_text(json.dumps(record(answers), indent=1))
    _say("")
    for answer in answers:
        _say(f"{answer.question:<16} {verdict(answer)}")
    sys.exit(any(answer.failed for answer in answers))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure beside real peers.")
    parser.add_argument("names", nargs="*", metavar="NAME", choices=[[], *_NAMES], help=", ".join(_NAMES))
    parser.add_argument("--runs", type=int, default=5, help="runs of each command that count (default 5)")
    parser.add_argument("--json", type=Path, help="write everything into this file too")
    parser.add_argument(
        "--keep", type=Path, metavar="DIR", help="where corpora and registry are kept for the next time"
    )
    return parser


def _place(keep: Path | None) -> AbstractContextManager[Path | str]:
    if keep is None:
        return tempfile.TemporaryDirectory(prefix="hangar-benchmarks-")
    keep.mkdir(parents=True, exist_ok=True)
    return nullcontext(keep.resolve())


def _say(text: str) -> None:
    print(text, flush=True)


if __name__ == "__main__":
    main()
