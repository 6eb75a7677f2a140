"""Blocking work in threads, beside the event loop."""

import asyncio
import contextvars
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar
from weakref import WeakKeyDictionary

_P = ParamSpec("_P")
_T = TypeVar("_T")
#: The threads of a pool, as many as asyncio's own has.
_THREADS = min(32, (os.cpu_count() or 1) + 4)


class Pool:
    """Threads that are started one by one as they are needed; where the system starts no more, those there do all.

    They end at `shutdown`, or when the pool is no longer referenced.
    """

    def __init__(self, name: str, threads: int = _THREADS) -> None:
        self._executor = ThreadPoolExecutor(threads, name)
        self._has_threads = False

    def start(self, work: Callable[[], _T]) -> asyncio.Future[_T]:
        """Run `work` in a thread, for the event loop; raises RuntimeError where not even one can be started."""
        return asyncio.wrap_future(self.submit(work))

    def submit(self, work: Callable[[], _T]) -> Future[_T]:
        """Run `work` in a thread; raises RuntimeError where not even one can be started."""
        future: Future[_T] = Future()
        try:
            self._executor.submit(_run, future, partial(contextvars.copy_context().run, work))
        except RuntimeError as error:
            # The work is queued then; only the new thread for it is missing.
            if not self._has_threads or "start new thread" not in str(error):
                raise
        self._has_threads = True
        return future

    def shutdown(self) -> None:
        """Drop the work that waits for a thread, wait for the rest, and end the threads."""
        self._executor.shutdown(cancel_futures=True)


def _run(future: Future[_T], work: Callable[[], _T]) -> None:
    if not future.set_running_or_notify_cancel():
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
        #: Work that lasts, such as a whole archive.
        self.long = Pool("archive")


_POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, _Pools] = WeakKeyDictionary()


def _pools() -> _Pools:
    loop = asyncio.get_running_loop()
    if loop not in _POOLS:
        _POOLS[loop] = _Pools()
    return _POOLS[loop]


async def in_thread(work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `work` in a thread and return its result.

    Unlike with `asyncio.to_thread`, a cancelled caller continues only when the thread has ended: it may then close the
    files of the thread. So `work` must be short, about 1 MiB of data, or call an `Interrupt` between pieces.
    """
    future = _pools().short.start(partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


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
        future = _pools().long.start(partial(work, *args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._set.set()
            await _ended(future)
            raise


async def _ended(future: asyncio.Future[_T]) -> None:
    # A second cancellation must wait for the thread too; the caller raises the first one again.
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()
