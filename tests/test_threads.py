import asyncio
import threading

import pytest

from hangar_async.threads import Interrupt, in_thread


async def test_result_and_error() -> None:
    assert await in_thread(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        await in_thread(divmod, 7, 0)


async def test_a_cancelled_caller_goes_on_only_when_the_thread_has_ended() -> None:
    started, go_on, ended = threading.Event(), threading.Event(), threading.Event()

    def work() -> None:
        started.set()
        go_on.wait()
        ended.set()

    task = asyncio.create_task(in_thread(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()  # a second one must not let go of the thread either
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


async def test_an_interrupt_ends_long_work() -> None:
    started = threading.Event()
    interrupt = Interrupt()

    def work() -> None:
        started.set()
        while True:
            interrupt()

    task = asyncio.create_task(interrupt.in_thread(work))
    await asyncio.to_thread(started.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
