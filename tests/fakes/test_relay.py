"""The relay delays, slows down, cuts, resets and trickles."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress

import pytest

from tests.fakes.relay import relay

DATA = bytes(range(256)) * 4000
Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(talk: Talk) -> AsyncIterator[str]:
    talking: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        talking.add(task)
        with suppress(ConnectionError):
            await talk(reader, writer)
        await ended(writer)

    running = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{running.sockets[0].getsockname()[1]}"
    finally:
        running.close()
        await asyncio.gather(*talking)


async def ended(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Say everything again, until the other side has ended."""
    while data := await reader.read(1 << 16):
        writer.write(data)
        await writer.drain()


async def sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Send the data; the other side says nothing."""
    writer.write(DATA)
    await writer.drain()


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        yield reader, writer
    finally:
        await ended(writer)


async def received(address: str) -> tuple[bytes, bool]:
    """Read to the end: the bytes, and whether the connection was reset."""
    data = bytearray()
    async with connected(address) as (reader, _):
        try:
            while piece := await reader.read(1 << 16):
                data += piece
        except ConnectionResetError:
            return bytes(data), True
    return bytes(data), False


@pytest.mark.parametrize("delay", [0.0, 0.01])
async def test_bytes_pass_both_ways_unchanged(delay: float) -> None:
    async with server(echo) as target, relay(target, delay=delay) as line, connected(line.address) as (reader, writer):
        async with asyncio.TaskGroup() as group:
            answer = group.create_task(reader.read(-1))
            writer.write(DATA)
            # The end of one direction goes through, and the other lives on until its own.
            writer.write_eof()
        assert answer.result() == DATA
        assert line.connections == 1


async def test_a_delay_is_added_in_each_direction() -> None:
    loop = asyncio.get_running_loop()
    delay = 0.05
    async with server(echo) as target, relay(target, delay=delay) as line, connected(line.address) as (reader, writer):
        start = loop.time()
        writer.write(b"x")
        await reader.readexactly(1)
        # A timer may be early by the resolution of the clock.
        assert loop.time() - start > 2 * delay * 0.9


async def test_a_rate_of_each_connection() -> None:
    loop = asyncio.get_running_loop()
    async with server(sender) as target, relay(target, rate=len(DATA) / 0.1) as line:
        start = loop.time()
        both = tuple(await asyncio.gather(received(line.address), received(line.address)))
        assert both == ((DATA, False), (DATA, False))
        # What a line was late by it may make up for.
        assert loop.time() - start > 0.08


async def test_a_rate_of_all_connections() -> None:
    loop = asyncio.get_running_loop()
    async with server(sender) as target, relay(target, shared_rate=len(DATA) / 0.1) as line:
        start = loop.time()
        both = tuple(await asyncio.gather(received(line.address), received(line.address)))
        assert both == ((DATA, False), (DATA, False))
        assert loop.time() - start > 0.18


@pytest.mark.parametrize("after", [0, 1, 100_000])
async def test_a_cut_comes_after_exactly_so_many_bytes(after: int) -> None:
    async with server(sender) as target, relay(target, cut_after=after, cuts=2) as line:
        assert await received(line.address) == (DATA[:after], False)
        assert await received(line.address) == (DATA[:after], False)
        assert await received(line.address) == (DATA, False)


async def test_a_reset() -> None:
    async with server(sender) as target, relay(target, cut_after=1000, reset=True) as line:
        data, reset = await received(line.address)
        assert reset
        assert DATA[:1000].startswith(data)
        line.cut_after = None
        assert await received(line.address) == (DATA, False)


async def test_a_trickle_gives_it_all() -> None:
    async with server(sender) as target, relay(target, trickle=(50_000, 0.0001)) as line:
        assert await received(line.address) == (DATA, False)


async def test_a_line_that_stands_still() -> None:
    said = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(1)
        writer.write(DATA)
        await writer.drain()
        said.set()
        await reader.read()

    async with server(talk) as target, relay(target) as line, connected(line.address) as (reader, writer):
        line.flowing.clear()
        writer.write(b"x")
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(reader.readexactly(len(DATA)))
            await said.wait()
            for _ in range(100):
                await asyncio.sleep(0)
            assert not reading.done()
            line.flowing.set()
        assert reading.result() == DATA


async def test_a_target_that_is_gone_breaks_the_connection() -> None:
    async with server(echo) as target:
        pass
    async with relay(target) as line:
        data, _ = await received(line.address)
        assert data == b""


async def test_the_end_breaks_what_is_open() -> None:
    async with server(echo) as target:
        async with relay(target) as line:
            host, port = line.address.split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"x")
            assert await reader.readexactly(1) == b"x"
        with pytest.raises((ConnectionResetError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        await ended(writer)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(host, int(port))


async def test_bytes_of_a_client_are_cut() -> None:
    got = bytearray()

    async def listener(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1 << 16):
            got.extend(data)

    async with server(listener) as target, relay(target, cut_upload_after=1234, cuts=1) as line:
        for _ in range(2):
            async with connected(line.address) as (reader, writer):
                writer.write(DATA)
                with suppress(ConnectionError):
                    writer.write_eof()
                    await reader.read()
        assert line.uploaded == 1234 + len(DATA)
    assert got == DATA[:1234] + DATA
