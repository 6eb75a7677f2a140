"""The run of a command: its event loop, its view, and signals."""

import asyncio
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Protocol, TypeAlias, TypeVar

from hangar_async.cli.view.stream import drain, json_stream
from hangar_async.cli.view.text import printable, write_rows
from hangar_async.engine.events import Event, Observer

_T = TypeVar("_T")
_Options = TypeVar("_Options")
Rows: TypeAlias = Iterable[tuple[str, str]]
_WORDS = {signal.SIGINT: "interrupted", signal.SIGTERM: "terminated", signal.SIGHUP: "hung up"}
#: The threads of libuv, which ends the process by SIGABRT where the system does not start them for its first
#: connection, and the first ones of names, short work, long work and the output.
_THREADS_WITH_UVLOOP = 4 + 4
_log = logging.getLogger(__name__)


def run_until_done(
    work: Callable[[], Coroutine[Any, Any, _T]],
    say: Callable[[str], None],
    remains: str,
    *,
    regular: Collection[signal.Signals] = (),
    reload: Callable[[], None] | None = None,
    patience: float | None = None,
) -> _T:
    """Run a coroutine to its end and return its result.

    SIGINT, SIGTERM and SIGHUP cancel it: `say` is called with a line that ends with `remains`, and after the cleanup
    SystemExit is raised with 128 and the signal's number, or with 0 for a signal that is the `regular` end of this
    work, if the cleanup went well. A second signal ends the process at once, also while the loop stands still, and so
    does the cleanup that takes longer than `patience`, in seconds. With
    `reload`, SIGHUP calls it instead, also where it was ignored. In another thread than the main one no signal is taken
    over.
    """
    stop = _Stop(say, remains, patience)
    # Signals can be taken over in the main thread alone.
    is_main = threading.current_thread() is threading.main_thread()
    before = {number: signal.getsignal(number) for number in _WORDS if is_main}

    async def main() -> _T:
        stop.watch(before)
        await _start_threads()
        if is_main and reload is not None:
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload)
        return await work()

    try:
        with _runner() as runner:
            return runner.run(main())
    except BaseException as error:
        if stop.signal is None:
            raise
        # The reason of the end is the signal, not an error of the cleanup.
        is_clean = isinstance(error, asyncio.CancelledError)
        _log.debug("ended by signal %d", stop.signal, exc_info=None if is_clean else error)
        raise SystemExit(0 if is_clean and stop.signal in regular else 128 + stop.signal) from None
    finally:
        stop.end()
        for number, receiver in before.items():
            signal.signal(number, receiver)


class _Stop:
    def __init__(self, say: Callable[[str], None], remains: str, patience: float | None) -> None:
        self.signal: int | None = None
        self._patience = patience
        self._timer: threading.Timer | None = None
        self._say = say
        self._remains = remains
        self._received = False
        self._task: asyncio.Task[Any] | None = None

    def watch(self, receivers: Mapping[signal.Signals, object]) -> None:
        """Take over the signals."""
        self._task = asyncio.current_task()
        self._loop = asyncio.get_running_loop()
        for number, receiver in receivers.items():
            # A shell starts background jobs with SIGINT ignored, nohup with SIGHUP: that stays.
            if receiver is not signal.SIG_IGN:
                signal.signal(number, self._receive)

    def _receive(self, number: int, _: object) -> None:
        # Not a receiver of the loop: that one would wait for a loop that stands still.
        if self._received:
            os._exit(128 + number)
        self._received = True
        if self._loop.is_closed():
            raise SystemExit(128 + number)
        if self._patience is not None:
            # A thread, since the loop may stand still.
            self._timer = threading.Timer(self._patience, os._exit, [128 + number])
            self._timer.daemon = True
            with suppress(RuntimeError):
                self._timer.start()
        self._loop.call_soon_threadsafe(self._stop, signal.Signals(number))

    def end(self) -> None:
        """End the limit of the cleanup, which is over."""
        if self._timer is not None:
            self._timer.cancel()

    def _stop(self, number: signal.Signals) -> None:
        self.signal = number
        self._say(f"{_WORDS[number]}: {self._remains} (once more ends at once)")
        if self._task is not None:
            self._task.cancel()


@contextmanager
def _runner() -> Iterator[asyncio.Runner]:
    runner = asyncio.Runner(loop_factory=_loop_factory())
    try:
        yield runner
    finally:
        try:
            runner.close()
        except RuntimeError as error:
            # It ends the threads of names with another thread, when all is done; they end with the process too.
            if "start new thread" not in str(error):
                raise


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """Return the maker of uvloop's loops where it is installed and can have its threads; None for asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop if _can_start(_THREADS_WITH_UVLOOP) else None


async def _start_threads() -> None:
    """Let a loop of uvloop start its threads, before others have taken all that the system starts."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, asyncio.BaseEventLoop):
        await loop.getaddrinfo("127.0.0.1", 0, flags=socket.AI_NUMERICHOST)


def _can_start(count: int) -> bool:
    """Tell whether the system starts so many more threads."""
    enough = threading.Event()
    threads = [threading.Thread(target=enough.wait, daemon=True) for _ in range(count)]
    try:
        for thread in threads:
            thread.start()
    except RuntimeError:
        return False
    finally:
        enough.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join()
    return True


def watch(
    work: Callable[[Observer], Coroutine[Any, Any, _T]], *, quiet: bool, remains: str, verbose: bool = False
) -> _T:
    """Run a verb to its end with a view and return its result; `remains` is shown when a signal ends it."""
    with open_view(quiet, verbose) as view:

        def say(text: str) -> None:
            view.close()
            view.say(text)

        return run_until_done(lambda: work(view), say, remains)


def run_verb(
    verb: Callable[[_Options, Observer], Coroutine[Any, Any, _T]],
    options: _Options,
    summary: Callable[[_T, _Options], Rows],
    next_steps: Callable[[_T, _Options], Rows] | None = None,
    *,
    quiet: bool,
    remains: str,
    verbose: bool = False,
) -> _T:
    """Run a verb to its end with a view, write its summary and the next steps, and return its report.

    If `quiet`, only the steps are written, on standard error, below the failures that the view wrote there. All of it
    goes there where standard output is for a report.
    """
    report = watch(lambda view: verb(options, view), quiet=quiet, remains=remains, verbose=verbose)
    stream = sys.stderr if quiet or has_report_on_output(options) else sys.stdout
    if not quiet:
        write_rows(summary(report, options), stream)
    if next_steps is not None:
        write_rows(next_steps(report, options), stream)
    return report


def has_report_on_output(options: object) -> bool:
    """Tell whether the report of a verb, its plan, or its archive, goes to standard output."""
    output = getattr(options, "output", None)
    is_document = any(callable(getattr(options, name, None)) for name in ("report", "plan_out"))
    return is_document or getattr(output, "is_stream", False)


class View(Protocol):
    """An observer that shows a run; it is quick and never raises."""

    def __call__(self, event: Event) -> None:
        """Take in an event."""
        ...

    def say(self, text: str) -> None:
        """Show a line that is no event."""
        ...

    def close(self) -> None:
        """Give the terminal back; show nothing more but the lines of `say`. May be called again."""
        ...


@contextmanager
def open_view(quiet: bool = False, verbose: bool = False) -> Iterator[View]:
    """Open the view for standard error: live on a terminal, lines elsewhere.

    If `quiet` it shows only problems, if `verbose` the notes of each image too.
    """
    view = _choose(quiet, verbose)
    try:
        yield view
    finally:
        view.close()
        # What comes next may go to standard output, on the same terminal.
        drain(sys.stderr)


def line_view(quiet: bool, verbose: bool = False) -> View:
    """Return the view of lines: of JSON where standard error is for these."""
    if (stream := json_stream()) is not None:
        from hangar_async.cli.view.json_lines import JsonView

        return JsonView(stream, quiet=quiet)
    from hangar_async.cli.view.plain import PlainView

    return PlainView(sys.stderr, quiet=quiet, verbose=verbose)


def _choose(quiet: bool, verbose: bool) -> View:
    if not quiet and sys.stderr.isatty():
        from rich.console import Console

        from hangar_async.cli.view.live import LiveView

        console = Console(stderr=True)
        if not console.is_dumb_terminal:
            return LiveView(console, verbose=verbose)
    return line_view(quiet, verbose)


class _Lines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(printable(line) for line in super().format(record).splitlines())


class _StandardError(logging.StreamHandler[Any]):
    """A handler that writes to the current standard error, which a live view replaces."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


def show_logs() -> None:
    """Show all log records of the package."""
    handler = _StandardError(sys.stderr)
    handler.setFormatter(_Lines("%(asctime)s %(name)s: %(message)s", "%H:%M:%S"))
    logger = logging.getLogger("hangar_async")
    logger.setLevel(logging.DEBUG)
    logger.addHandler(handler)
