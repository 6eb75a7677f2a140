"""A command's coroutine: its event loop, and what signals do to it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

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
