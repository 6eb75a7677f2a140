"""Blocking work in threads, beside the event loop."""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable, Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Generic, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

_P = ParamSpec("_P")
_T = TypeVar("_T")
#: The threads of a pool, as many as asyncio's own has.
_THREADS = min(32, (os.cpu_count() or 1) + 4)


class Call(Generic[_T]):
    """Work in a thread, for the event loop that waits for it; a future of both would have two locks and more callbacks.

    `interrupt` is called when the waiter is cancelled.
    """

    __slots__ = ("_context", "_ended", "_error", "_interrupt", "_loop", "_result", "_waiter", "_work")

    def __init__(self, work: Callable[[], _T], interrupt: Callable[[], None] = lambda: None) -> None:
        self._work = work
        self._interrupt = interrupt
        self._context = contextvars.copy_context()
        self._loop = asyncio.get_running_loop()
        self._waiter: asyncio.Future[None] | None = None
        self._error: BaseException | None = None
        self._ended = False

    def run(self) -> None:
        """Do the work, in the thread, and wake the loop."""
        try:
            self._result = self._context.run(self._work)
        except BaseException as error:
            self._error = error
        with suppress(RuntimeError):  # a loop that was closed has no waiter
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ended = True
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def __await__(self) -> Generator[Any, None, _T]:
        """Wait for the end of the thread, also when cancelled; return the result, or raise the error of the work."""
        cancelled = None
        while not self._ended:
            self._waiter = self._loop.create_future()
            try:
                yield from self._waiter
            except asyncio.CancelledError as error:
                # A second cancellation must wait for the thread too; the first one is raised.
                cancelled = cancelled or error
                self._interrupt()
        if cancelled is not None:
            raise cancelled
        if self._error is None:
            return self._result
        try:
            raise self._error
        finally:
            # Its traceback has this frame.
            self._error = None


class Pool:
    """Threads that are started one by one as they are needed; where the system starts no more, those there do all.

    They end at `shutdown`, or when the pool is no longer referenced.
    """

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._has_threads = False

    def start(self, call: Call[_T]) -> Call[_T]:
        """Run a call of the event loop in a thread; raises RuntimeError where not even one can be started."""
        if error := self._queue(call.run):
            raise error
        return call

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Run `work` in a thread; in that of the caller, at once, where not even one can be started."""
        future: Future[_T] = Future()
        run = partial(_run, future, partial(contextvars.copy_context().run, work))
        if self._queue(run):
            run()
        return future

    def reserve(self) -> None:
        """Start the first thread now, before others may have taken all that the system starts."""
        self._queue(lambda: None)

    def _queue(self, run: Callable[[], None]) -> RuntimeError | None:
        """Queue work for a thread; return the error of the system where there is none for it."""
        try:
            self._executor.submit(run)
        except RuntimeError as error:
            # The work is queued then; only the new thread for it is missing.
            if "start new thread" not in str(error):
                raise
            return None if self._has_threads else error
        self._has_threads = True
        return None

    def shutdown(self) -> None:
        """Drop the work that waits for a thread, wait for the rest, and end the threads."""
        self._executor.shutdown(cancel_futures=True)


def _run(future: Future[_T], work: Callable[[], _T]) -> None:
    # It may have been done by the caller, and still be queued.
    if future.done() or not future.set_running_or_notify_cancel():
        return
    try:
        result = work()
    except BaseException as error:
        future.set_exception(error)
        # The traceback has this frame, which would keep the future, which keeps the traceback.
        del future
    else:
        future.set_result(result)


class _Pools:
    """The pools of one event loop. Its default one is left for names, which a slow disk must not hold up."""

    def __init__(self) -> None:
        #: Short work, of one piece of data.
        self.short = Pool("disk")
        #: Work that lasts, such as a whole archive. Short work, which comes first, has more threads.
        self.long = Pool("archive")
        self.long.reserve()


_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools] = WeakKeyDictionary()


def _pools() -> _Pools:
    loop = asyncio.get_running_loop()
    pools = _POOLS.get(loop)
    if pools is None:
        pools = _POOLS[loop] = _Pools()
    return pools


async def in_thread(work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `work` in a thread and return its result.

    Unlike with `asyncio.to_thread`, a cancelled caller continues only when the thread has ended: it may then close the
    files of the thread. So `work` must be short, about 1 MiB of data, or call an `Interrupt` between pieces.
    """
    return await _pools().short.start(Call(partial(work, *args, **kwargs)))


class Interrupted(Exception):
    """Raised in a thread by an `Interrupt` whose work is cancelled."""


class Interrupt:
    """Lets the event loop end a long piece of work in a thread: the work calls it between pieces."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def __call__(self) -> None:
        """Raise Interrupted after a cancellation; called in the thread."""
        if self._set.is_set():
            raise Interrupted

    async def in_thread(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run long `work` in a thread; a cancellation interrupts it and waits for its end."""
        return await _pools().long.start(Call(partial(work, *args, **kwargs), self._set.set))
