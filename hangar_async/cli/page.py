"""Rows of a label and a text, written for a terminal or a file."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TextIO

_WIDTH = 10


def write_rows(rows: Iterable[tuple[str, str]], stream: TextIO) -> None:
    """Write the rows; on a terminal the labels stand out. Nothing is wrapped: what can be copied stays whole."""
    if stream.isatty():
        from rich.console import Console
        from rich.text import Text

        console = Console(file=stream, highlight=False)
        for label, text in rows:
            style = "bold red" if label == "failed" else "bold"
            console.print(Text.assemble((f"{label:<{_WIDTH}} ", style), text), soft_wrap=True)
        return
    for label, text in rows:
        stream.write(f"{label:<{_WIDTH}} {text}\n")
    stream.flush()
