"""Blocking work in threads, beside the event loop."""

import asyncio
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

_P = ParamSpec("_P")
_T = TypeVar("_T")


async def in_thread(work: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """Run `work` in a thread and return its result.

    Unlike with `asyncio.to_thread`, a cancelled caller continues only when the thread has ended: it may then close the
    files of the thread. So `work` must be short, about 1 MiB of data, or call an `Interrupt` between pieces.
    """
    future = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
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
        future = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
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
