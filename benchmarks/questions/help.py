"""How long a person waits for the help."""

from __future__ import annotations

import sys

from benchmarks.harness import Answer
from benchmarks.process import Command
from benchmarks.stage import Stage

ASKS = "save --help, beside a typer program of one command"
_LEAST_RUNS = 15
_PROGRAM = '''
import typer

app = typer.Typer(add_completion=False, rich_markup_mode=None)


@app.command()
def main(name: str = "x", count: int = 1) -> None:
    """Do nothing."""


app()
'''


def ask(stage: Stage) -> Answer:
    """Measure."""
    program = stage.directory / "one_command.py"
    program.write_text(_PROGRAM)
    helped = Command("save --help", (sys.executable, "-m", "hangar_async", "save", "--help"))
    plain = Command("typer program --help", (sys.executable, str(program), "--help"))
    answer = Answer("help", stage.measure("help", [helped, plain], runs=max(stage.runs, _LEAST_RUNS)))
    answer.compare(helped.name, plain.name, 1.3)
    return answer
