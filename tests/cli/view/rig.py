"""Helpers of this room's tests."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console

from hangar_async.cli.view.live import LiveView
from hangar_async.engine.events import (
    Event,
)
from tests.cli.samples import Clock


class Terminal:
    """A live view on a terminal of 100 columns and 12 lines."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.stream = io.StringIO()
        console = Console(force_terminal=True, file=self.stream, width=100, height=12, color_system=None)
        self.view = LiveView(console, self.clock)

    def feed(self, *events: Event) -> None:
        for event in events:
            self.view(event)

    def drawn(self) -> list[str]:
        """The lines that the view draws now, without its bars."""
        paper = Console(file=io.StringIO(), width=100, height=12, color_system=None, legacy_windows=False)
        paper.print(self.view.render())
        assert isinstance(paper.file, io.StringIO)
        lines = paper.file.getvalue().splitlines()
        assert all(len(line) <= 100 for line in lines)
        return [re.sub(r"[━╸╺ ]{2,}", "  ", line).rstrip() for line in lines]


@contextmanager
def full_pipe() -> Iterator[tuple[int, TextIO]]:
    """A pipe filled with the letter x: its reading end, and its writing end as a stream."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.set_blocking(writer, True)
    with os.fdopen(writer, "w") as target:
        yield reader, target
    os.close(reader)
