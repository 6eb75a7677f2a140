"""A TCP relay: a line that is long or slow, that breaks, that stands still, or that gives its bytes a few at a time."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

_PIECE = 1 << 18
#: Pieces that a long line holds in each direction: 64 MiB, 1 GB/s for 50 ms. A sender waits when it is full.
_IN_FLIGHT = 256
#: Seconds by which a slow line that was late may catch up.
_CREDIT = 0.01
#: Seconds for which one piece holds a line that is slow for each connection, and one that all share.
_HELD, _HELD_SHARED = 0.02, 0.001


class Pace:
    """Lets all who share it pass `rate` bytes a second; None is no limit."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._free_at = -math.inf

    async def take(self, count: int) -> None:
        """Wait until these bytes, and all before them, have passed."""
        if self._rate is None:
            return
        now = asyncio.get_running_loop().time()
        self._free_at = max(self._free_at, now - _CREDIT) + count / self._rate
        if self._free_at > now:
            await asyncio.sleep(self._free_at - now)

    def piece(self, seconds: float) -> int:
        """Return how many bytes take about so long, at most those of a piece."""
        return _PIECE if self._rate is None else max(1, min(_PIECE, int(self._rate * seconds)))


@dataclass
class Relay:
    """The behaviour of the relay; may be changed while it runs, for the connections that are made after that.

    `delay` in seconds is added to every byte in each direction: a longer line, not a slower one. From the server a
    connection gets at most `rate` bytes a second, and all of them together at most `shared_rate`. `cut_after` is how
    many bytes from the server a connection gets before it ends, by FIN, or with `reset` by RST; only the first `cuts`
    connections end so (None: all). With `trickle` (bytes, seconds) a few bytes from the server come at a time. While
    `flowing` is clear, on connections of any age, nothing comes from the server. `cut_upload_after` cuts the same
    connections as `cut_after`, when the server has got so many bytes; `uploaded` counts these over all connections.
    """

    delay: float = 0.0
    cut_after: int | None = None
    cuts: int | None = None
    reset: bool = False
    trickle: tuple[int, float] | None = None
    cut_upload_after: int | None = None
    uploaded: int = 0
    rate: float | None = None
    shared_rate: float | None = None
    #: HOST:PORT to connect to.
    address: str = ""
    connections: int = 0
    #: Bytes from the server that were handed on, over all connections.
    carried: int = 0
    flowing: asyncio.Event = field(default_factory=asyncio.Event)

    def __post_init__(self) -> None:
        self.flowing.set()
        self.shared = Pace(self.shared_rate)
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    async def carries(self, count: int) -> None:
        """Wait until so many bytes from the server were handed on."""
        if self.carried < count:
            waiting = (count, asyncio.get_running_loop().create_future())
            self._waiting.append(waiting)
            await waiting[1]

    def count(self, more: int) -> None:
        """Note that bytes were handed on."""
        self.carried += more
        for waiting in [one for one in self._waiting if one[0] <= self.carried]:
            self._waiting.remove(waiting)
            if not waiting[1].done():
                waiting[1].set_result(None)


@asynccontextmanager
async def relay(
    target: str,
    *,
    delay: float = 0.0,
    cut_after: int | None = None,
    cuts: int | None = None,
    reset: bool = False,
    trickle: tuple[int, float] | None = None,
    cut_upload_after: int | None = None,
    rate: float | None = None,
    shared_rate: float | None = None,
) -> AsyncIterator[Relay]:
    """Relay connections to `target` (HOST:PORT) during the block; at its end all are broken."""
    line = Relay(delay, cut_after, cuts, reset, trickle, cut_upload_after, rate=rate, shared_rate=shared_rate)
    host, _, port = target.rpartition(":")
    connections: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        # A task of the server's; a task group would wrap what a test raises in the block.
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        await _carry(line, reader, writer, host, int(port))

    server = await asyncio.start_server(accept, "127.0.0.1", 0, limit=_PIECE)
    line.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield line
    finally:
        server.close()
        for task in connections:
            task.cancel()
        if connections:
            await asyncio.wait(connections)


async def _carry(line: Relay, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, host: str, port: int) -> None:
    """Carry one connection until both sides have ended it, one has broken it, or it is cut."""
    number, line.connections = line.connections, line.connections + 1
    is_cut = line.cuts is None or number < line.cuts
    cut = line.cut_after if is_cut else None
    there: asyncio.StreamWriter | None = None
    try:
        there_reader, there = await asyncio.open_connection(host, port, limit=_PIECE)
        async with asyncio.TaskGroup() as group:
            group.create_task(_ToServer(reader, there, line, line.cut_upload_after if is_cut else None).run())
            group.create_task(_FromServer(there_reader, writer, line, cut).run())
    except* _Cut:
        if line.reset:
            _reset_on_close(writer)
        else:
            writer.close()
    except* OSError:
        pass
    finally:
        # Both, before anything is waited for: this may be cancelled.
        ends = [one for one in (writer, there) if one is not None]
        for one in ends:
            one.transport.abort()
        for one in ends:
            with suppress(OSError):
                await one.wait_closed()


class _Cut(Exception):
    """Ends a connection as was asked for."""


class _Direction:
    """Bytes of one direction: each is handed on `delay` seconds after it came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, delay: float) -> None:
        self._reader = reader
        self._writer = writer
        self._delay = delay
        self._queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_IN_FLIGHT)
        # What was handed on is with the kernel: a cut comes after the byte that it is to come after.
        writer.transport.set_write_buffer_limits(0)

    async def run(self) -> None:
        """Carry until the end of what comes."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._receive())
            await self._send()

    async def _receive(self) -> None:
        loop = asyncio.get_running_loop()
        data = b" "
        while data:
            data = await self.read()
            await self._queue.put((loop.time() + self._delay, data))

    async def read(self) -> bytes:
        """Return the next bytes; none at the end."""
        return await self._reader.read(_PIECE)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due, data = await self._queue.get()
            if (early := due - loop.time()) > 0:
                await asyncio.sleep(early)
            if not data:
                break
            await self.hand_on(data)
        self._writer.write_eof()

    async def hand_on(self, data: bytes) -> None:
        """Write bytes and wait until they are written."""
        self._writer.write(data)
        await self._writer.drain()


class _ToServer(_Direction):
    """The bytes of the client, on a line that may break."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Relay, cut: int | None
    ) -> None:
        super().__init__(reader, writer, line.delay)
        self._line = line
        self._rest = cut

    async def hand_on(self, data: bytes) -> None:
        """Write bytes as far as the line goes."""
        piece = data if self._rest is None else data[: self._rest]
        await super().hand_on(piece)
        self._line.uploaded += len(piece)
        if self._rest is not None:
            self._rest -= len(piece)
            if not self._rest:
                raise _Cut


class _FromServer(_Direction):
    """The bytes of the server, on a line that may break."""

    def __init__(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, line: Relay, cut: int | None
    ) -> None:
        super().__init__(reader, writer, line.delay)
        self._line = line
        self._trickle = line.trickle
        self._rest = cut
        self._pace = Pace(line.rate)
        self._count = min(self._pace.piece(_HELD), line.shared.piece(_HELD_SHARED))

    async def read(self) -> bytes:
        """Return the next bytes, when they have passed: a slow line holds few of them."""
        data = await self._reader.read(self._count)
        await self._line.shared.take(len(data))
        await self._pace.take(len(data))
        return data

    async def hand_on(self, data: bytes) -> None:
        """Write bytes as far as the line goes."""
        count, pause = self._trickle or (len(data), 0.0)
        for start in range(0, len(data), count):
            await self._line.flowing.wait()
            piece = self._within(data[start : start + count])
            await super().hand_on(piece)
            self._line.count(len(piece))
            if self._rest == 0:
                raise _Cut
            if pause:
                await asyncio.sleep(pause)

    def _within(self, data: bytes) -> bytes:
        if self._rest is not None:
            data = data[: self._rest]
            self._rest -= len(data)
        return data


def _reset_on_close(writer: asyncio.StreamWriter) -> None:
    connection: socket.socket = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
