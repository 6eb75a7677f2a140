"""Work that blocks, off the event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `work` in a thread and return its result.

    Unlike `asyncio.to_thread`, a cancelled caller goes on only when the thread has ended: it may then close what the
    thread worked on. So `work` has to be short, about 1 MiB of data, or to ask an `Interrupt` as it goes.
    """
    future = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        await _ended(future)
        raise


class Interrupted(Exception):
    """Raised in a thread by an `Interrupt` whose work is no longer wanted."""


class Interrupt:
    """Lets the event loop end a long piece of work in a thread: the work calls it between pieces."""

    def __init__(self) -> None:
        self._set = threading.Event()

    def __call__(self) -> None:
        """Raise Interrupted once the work is no longer wanted; called in the thread."""
        if self._set.is_set():
            raise Interrupted

    async def in_thread(self, work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
        """Run long `work` in a thread; a cancellation interrupts it and waits for its end."""
        future = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(future)
        except asyncio.CancelledError:
            self._set.set()
            await _ended(future)
            raise


async def _ended(future: asyncio.Future[_T]) -> None:
    # A second cancellation must not let go of the thread either; the first one is re-raised by the caller.
    while not future.done():
        try:
            await asyncio.wait({future})
        except asyncio.CancelledError:
            continue
    if not future.cancelled():
        future.exception()
