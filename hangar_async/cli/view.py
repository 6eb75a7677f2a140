"""What a person sees while a run goes on, fed by its events alone."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from hangar_async.engine.events import Event


class View(Protocol):
    """Watches a run. As an observer it is quick and never raises."""

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        ...

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        ...

    def close(self) -> None:
        """Give the terminal back; nothing more is shown but what is said. May be called again."""
        ...


@contextmanager
def open_view(quiet: bool = False) -> Iterator[View]:
    """Open the view that suits standard error: live on a terminal, lines elsewhere, only what is wrong if `quiet`."""
    view = _choose(quiet)
    try:
        yield view
    finally:
        view.close()


def _choose(quiet: bool) -> View:
    from hangar_async.cli.plain import PlainView

    if not quiet and sys.stderr.isatty():
        from rich.console import Console

        from hangar_async.cli.live import LiveView

        console = Console(stderr=True)
        if not console.is_dumb_terminal:
            return LiveView(console)
    return PlainView(sys.stderr, quiet=quiet)
