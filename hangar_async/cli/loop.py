"""A command's coroutine: its event loop, and what signals do to it."""

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, Protocol, TypeVar

from hangar_async.cli.view.text import printable
from hangar_async.engine.events import Event, Observer

_T = TypeVar("_T")
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated"}
_log = logging.getLogger(__name__)


def run_until_done(work: Callable[[], Coroutine[Any, Any, _T]], tell: Callable[[str], None], remains: str) -> _T:
    """Run a coroutine to its end and return its result.

    SIGINT and SIGTERM cancel it, `tell` is called with a line about it that says what `remains`, and once everything
    is unwound SystemExit is raised with 128 and the signal's number. A second signal ends the process on the spot.
    """
    stop = _Stop(tell, remains)
    before = {number: signal.getsignal(number) for number in _WORDS}

    async def main() -> _T:
        stop.watch()
        return await work()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(main())
    except BaseException as error:
        if stop.signal is None:
            raise
        # Whatever the unwinding met, the reason of the end is the signal.
        _log.debug("ended by signal %d", stop.signal, exc_info=error)
        raise SystemExit(128 + stop.signal) from None
    finally:
        # A closed loop of uvloop's keeps its hold on the signals.
        for number, receiver in before.items():
            signal.signal(number, receiver)


class _Stop:
    def __init__(self, tell: Callable[[str], None], remains: str) -> None:
        self.signal: int | None = None
        self._tell = tell
        self._remains = remains
        self._task: asyncio.Task[Any] | None = None

    def watch(self) -> None:
        """Take over the signals."""
        self._task = asyncio.current_task()
        for number in _WORDS:
            # A shell starts background jobs with SIGINT ignored, and so it stays.
            if signal.getsignal(number) is not signal.SIG_IGN:
                asyncio.get_running_loop().add_signal_handler(number, self, number)

    def __call__(self, number: signal.Signals) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        self._tell(f"{_WORDS[number]}: {self._remains} (once more ends at once)")
        if self._task is not None:
            self._task.cancel()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The faster loop where it is installed, else asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


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
