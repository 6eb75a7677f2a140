"""A verb of the engine, run as a command: a view shows how it goes, signals end it."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from hangar_async.cli.loop import run_until_done
from hangar_async.cli.view.text import printable
from hangar_async.engine.events import Event, Observer

_T = TypeVar("_T")


def watch(work: Callable[[Observer], Coroutine[Any, Any, _T]], *, quiet: bool, remains: str) -> _T:
    """Run a verb to its end and return its result; `remains` tells whoever interrupts it what stays behind."""
    with open_view(quiet) as view:

        def tell(text: str) -> None:
            view.close()
            view.say(text)

        return run_until_done(lambda: work(view), tell, remains)


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
    from hangar_async.cli.view.plain import PlainView

    if not quiet and sys.stderr.isatty():
        from rich.console import Console

        from hangar_async.cli.view.live import LiveView

        console = Console(stderr=True)
        if not console.is_dumb_terminal:
            return LiveView(console)
    return PlainView(sys.stderr, quiet=quiet)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).splitlines())


class _StandardError(logging.StreamHandler[Any]):
    """Writes to what is standard error at that moment: a live view puts lines above itself through it."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def show_logs() -> None:
    """Show everything that the package logs."""
    handler = _StandardError(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("hangar_async")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
