"""Rows of a label and a text, and tables, written for a terminal or a file."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from typing import TextIO

_WIDTH = 10
_WRONG = frozenset({"failed", "wrong", "incomplete"})


def write_rows(rows: Iterable[tuple[str, str]], stream: TextIO) -> None:
    """Write the rows; on a terminal the labels stand out. Nothing is wrapped: what can be copied stays whole.

    That nobody reads them, as behind `| head`, is no error.
    """
    try:
        _write(rows, stream)
    except BrokenPipeError:
        abandon(stream)


def write_table(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    """Write a table: fitted to a terminal, in aligned columns with nothing wrapped elsewhere."""
    try:
        _draw(heads, rows, stream)
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
            style = "bold red" if label in _WRONG else "bold"
            console.print(Text.assemble((f"{label:<{_WIDTH}} ", style), text), soft_wrap=True)
        return
    for label, text in rows:
        stream.write(f"{label:<{_WIDTH}} {text}\n" if label or text else "\n")
    stream.flush()


def _draw(heads: Sequence[str], rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    if stream.isatty():
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(*heads, box=None, padding=(0, 2, 0, 0), header_style="bold")
        console = Console(file=stream, highlight=False)
        for number, column in enumerate(table.columns):
            column.overflow = "fold"
            column.no_wrap = 0 < number < len(heads) - 1
        # The last column gives way before the first, which names what a row is about.
        table.columns[0].min_width = min(max((len(row[0]) for row in rows), default=0), console.width // 2)
        for row in rows:
            # A Text, since `[fe80::1]:5000/name` would read as markup.
            table.add_row(*map(Text, row))
        console.print(table)
        return
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    for row in (heads, *rows):
        cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        stream.write(f"{'  '.join(cells).rstrip()}\n")
    stream.flush()
