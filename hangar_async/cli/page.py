"""Rows of a label and a text, written for a terminal or a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TextIO

_WIDTH = 10


def write_rows(rows: Iterable[tuple[str, str]], stream: TextIO) -> None:
    """Write the rows; on a terminal the labels stand out. Nothing is wrapped: what can be copied stays whole.

    That nobody reads them, as behind `| head`, is no error.
    """
    try:
        _write(rows, stream)
    except BrokenPipeError:
        abandon(stream)


def abandon(stream: TextIO) -> None:
    """Send what is still to be written to a stream that nobody reads to nowhere, so that its end does not fail."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def _write(rows: Iterable[tuple[str, str]], stream: TextIO) -> None:
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
