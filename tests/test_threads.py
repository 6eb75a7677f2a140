import asyncio
import contextvars
import threading

import pytest

from hangar_async.threads import Call, Interrupt, Pool, in_thread


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


async def test_slow_disks_hold_up_no_names_and_no_archive() -> None:
    """So many pieces of work wait that each pool of one kind is full."""
    release = threading.Event()
    loop = asyncio.get_running_loop()
    interrupt = Interrupt()
    slow = [asyncio.create_task(in_thread(release.wait)) for _ in range(64)]
    await asyncio.sleep(0)
    assert await interrupt.in_thread(divmod, 7, 2) == (3, 1)
    long = [asyncio.create_task(interrupt.in_thread(release.wait)) for _ in range(64)]
    await asyncio.sleep(0)
    assert await loop.getaddrinfo("127.0.0.1", 80)
    release.set()
    await asyncio.gather(*slow, *long)


async def test_the_context_of_the_caller_is_seen() -> None:
    variable = contextvars.ContextVar("variable", default=1)
    variable.set(2)
    assert await in_thread(variable.get) == 2


async def test_without_more_threads_the_existing_ones_do_the_work(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, release = Pool("test"), threading.Event()
    first = pool.start(Call(release.wait))

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    rest = [pool.start(Call(lambda: 7)) for _ in range(3)]
    release.set()
    assert await asyncio.gather(first, *rest) == [True, 7, 7, 7]
    with pytest.raises(RuntimeError, match="start new thread"):
        Pool("none").start(Call(int))


async def test_long_work_has_a_thread_though_short_work_has_taken_the_last(monkeypatch: pytest.MonkeyPatch) -> None:
    await in_thread(int)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert await Interrupt().in_thread(divmod, 7, 2) == (3, 1)


def test_without_any_thread_the_caller_does_the_work_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pool, done = Pool("test"), list[int]()

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuse)
        first = pool.submit(lambda: done.append(1))
        assert first.done()
    # The thread that is started now finds the first work queued.
    pool.submit(lambda: done.append(2)).result()
    pool.shutdown()
    assert done == [1, 2]


def test_a_pool_outside_of_an_event_loop_ends_with_its_work() -> None:
    pool = Pool("test", 1)
    assert pool.submit(lambda: 7).result() == 7
    pool.shutdown()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(int)
