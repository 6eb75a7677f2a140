"""Memory and open files, however many read."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from hangar_async.engine.serving.buffers import LARGE, Buffer, Buffers, Readers, SlowClientWatch
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import blob_name
from tests.engine.serving.rig import SHORT, SHORT_DIGEST


async def test_large_buffers_are_few_and_used_again() -> None:
    buffers = Buffers(2)
    first, second = await buffers.take(), await buffers.take()
    assert first is not None
    assert second is not None
    assert (len(first.view), buffers.lent, buffers.peak) == (LARGE, 2, 2)
    buffers.give(first)
    assert await buffers.take() is first
    buffers.give(first)
    buffers.give(second)
    assert (buffers.lent, buffers.peak) == (0, 2)


async def taken(buffers: Buffers) -> Buffer:
    found = await buffers.take()
    assert found is not None
    return found


async def ticket() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


async def test_a_reader_waits_while_all_buffers_are_in_use() -> None:
    buffers = Buffers(1)
    one = await taken(buffers)
    waiting = [asyncio.create_task(buffers.take()) for _ in range(3)]
    await ticket()
    # One that gives up is passed over.
    waiting[0].cancel()
    await ticket()
    buffers.give(one)
    assert await waiting[1] is one
    assert not waiting[2].done()
    buffers.give(one)
    assert await waiting[2] is one
    assert buffers.lent == 1


async def test_a_slow_client_holds_up_no_other_reader() -> None:
    buffers = Buffers(2)
    one, two = await taken(buffers), await taken(buffers)
    buffers.wait_for_client(one)
    waiting = [asyncio.create_task(buffers.take()) for _ in range(3)]
    await ticket()
    assert not any(task.done() for task in waiting)
    buffers.wait_for_client(two)
    assert await asyncio.gather(*waiting) == [None] * 3
    assert await buffers.take() is None
    buffers.give(one)
    assert await buffers.take() is one
    # It is in use again, and comes back soon.
    task = asyncio.create_task(buffers.take())
    await ticket()
    assert not task.done()
    buffers.give(two)
    assert await task is two


async def test_a_buffer_that_comes_with_the_cancellation_is_not_lost() -> None:
    buffers = Buffers(1)
    one = await taken(buffers)
    task = asyncio.create_task(buffers.take())
    await ticket()
    buffers.give(one)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert buffers.lent == 0
    assert await buffers.take() is one


async def test_turns_of_the_event_loop_are_counted() -> None:
    told: list[str] = []
    with SlowClientWatch(lambda: told.append("over")):
        await asyncio.sleep(0)
    await ticket()
    await ticket()
    assert told == []
    with SlowClientWatch(lambda: told.append("over")):
        for _ in range(10):
            await asyncio.sleep(0)
    assert told == ["over"]


def test_readers_wait_and_are_opened_again(blob_directory: Path) -> None:
    readers = Readers(DirectoryLayout(blob_directory), most=2)
    name = blob_name(SHORT_DIGEST)
    buffer = memoryview(bytearray(10))
    for place in (100, 200, 300):
        reader = readers.take(name, place - 10)
        assert reader.readinto(buffer) == 10
        readers.give(name, place, reader)
    assert readers.idle == 2
    for place in (100, 200, 300):
        reader = readers.take(name, place)
        assert reader.readinto(buffer) == 10
        assert buffer == SHORT[place : place + 10]
        reader.close()
    assert readers.idle == 0
    # Two at one place: one of them is enough.
    for _ in range(2):
        readers.give(name, 5, DirectoryLayout(blob_directory).open(name, 5))
    assert readers.idle == 1
    readers.close()
