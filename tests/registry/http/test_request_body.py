from __future__ import annotations

import asyncio
import fcntl
import itertools
import random
import ssl
import struct
import termios
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from aiohttp import web
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, NetworkError, RegistryError, StorageError
from hangar_async.registry.http.limits import Speeds
from hangar_async.registry.http.request_body import Body, SourceBlob, StreamedBody, _Extension
from hangar_async.registry.http.transport import Transport
from tests.fakes.registry import answering
from tests.registry.rig import Lent, raw_server, request_head

DATA = random.Random(7).randbytes((5 << 20) + 123)
SHORT = DATA[:10_000]
SETTINGS = RegistrySettings()


@dataclass
class Sink:
    """Takes bodies, and answers each with a status; redirects where `locations` says so."""

    status: int = 201
    bodies: list[bytes] = field(default_factory=list)
    locations: dict[str, str] = field(default_factory=dict)

    async def __call__(self, request: web.Request) -> web.Response:
        self.bodies.append(await request.content.read())
        if request.path in self.locations:
            return web.Response(status=self.status, headers={"Location": self.locations[request.path]})
        return web.Response(status=201, text="taken" if request.method != "HEAD" else None)


async def send(
    host: str, body: Body | None, method: str = "PUT", settings: RegistrySettings = SETTINGS, path: str = "/x"
) -> tuple[int, bytes]:
    async with Transport(settings, 1) as transport:
        return await ask(transport, URL(f"http://{host}{path}"), body, method)


async def ask(transport: Transport, url: URL, body: Body | None, method: str = "PUT") -> tuple[int, bytes]:
    host = url.host_port_subcomponent or ""
    async with await transport.send(
        url, host, headers={}, method=method, body=body, authorization="Basic x", internal=True
    ) as answer:
        return answer.status, await answer.read("it", 1 << 20)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
@pytest.mark.parametrize("size", [0, 1, 1000, (1 << 20) - 1, len(DATA)])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_body_arrives_as_it_is_with_its_length(method: str, size: int, streamed: bool) -> None:
    sink, lent = Sink(), Lent(DATA[:size])
    async with answering(sink) as server:
        assert await send(server.address, lent.stream() if streamed else lent.data, method) == (201, b"taken")
    [request] = server.requests
    assert request.method == method
    assert request.headers["Content-Length"] == str(size)
    assert not {"Transfer-Encoding", "Expect", "Content-Encoding"} & set(request.headers)
    assert sink.bodies == [lent.data]
    assert lent.settled


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE", "PUT"])
async def test_a_request_without_a_body_has_no_length(method: str) -> None:
    async with answering(Sink()) as server:
        status, _ = await send(server.address, None, method)
    assert status == 201
    [request] = server.requests
    assert request.method == method
    assert request.headers.get("Content-Length") == ("0" if method == "PUT" else None) or method == "DELETE"


@asynccontextmanager
async def slow_server(step: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[tuple[str, bytearray]]:
    """A server that takes a few bytes at a time."""
    got = bytearray()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        _, headers = await request_head(reader)
        while len(got) < int(headers["content-length"]):
            got.extend(await reader.read(step))
            await asyncio.sleep(0)
        writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        await reader.read()

    async with raw_server(talk, tls=tls) as host:
        yield host, got


async def lend_to_a_slow_server(tls: ssl.SSLContext | None, settings: RegistrySettings) -> None:
    lent = Lent(DATA, piece=1 << 20)
    async with slow_server(1 << 16, tls) as (host, got), Transport(settings, 1) as transport:
        url = URL(f"{'https' if tls else 'http'}://{host}/x")
        assert await ask(transport, url, lent.stream()) == (201, b"")
        assert got == DATA
    assert lent.settled


async def test_a_piece_is_written_before_the_next_one_is_asked_for() -> None:
    await lend_to_a_slow_server(None, SETTINGS)


async def test_a_piece_is_written_before_the_next_one_is_asked_for_over_tls(server_tls: ssl.SSLContext) -> None:
    await lend_to_a_slow_server(server_tls, RegistrySettings(tls_verify=False))


@pytest.mark.parametrize("secure", [False, True])
def test_a_piece_is_written_before_the_next_one_is_asked_for_on_uvloop(
    server_tls: ssl.SSLContext, secure: bool
) -> None:
    uvloop = pytest.importorskip("uvloop")
    settings = RegistrySettings(tls_verify=False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(lend_to_a_slow_server(server_tls if secure else None, settings))


def in_kernel(connection: Any, request: int) -> int:
    """Count the bytes that a socket holds unread, or unsent."""
    return int(struct.unpack("i", fcntl.ioctl(connection.fileno(), request, bytes(4)))[0])


async def test_no_more_than_one_piece_is_held_beside_the_socket_buffers() -> None:
    asked, release = asyncio.Event(), asyncio.Event()
    far: list[Any] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        far.append((writer.get_extra_info("socket"), reader))
        asked.set()
        await release.wait()

    lent = Lent(bytes(64 << 20), piece=1 << 20)
    async with raw_server(talk) as host, Transport(SETTINGS, 1) as transport, asyncio.TaskGroup() as group:
        sending = group.create_task(failing(ask(transport, URL(f"http://{host}/x"), lent.stream())))
        await asked.wait()
        taken = -1
        while taken != lent.taken:
            taken = lent.taken
            await asyncio.sleep(0.005)
        [protocol] = transport._session.connector._acquired  # type: ignore[union-attr]
        near = cast("asyncio.Transport", protocol.transport).get_extra_info("socket")
        [(socket, reader)] = far
        read = len(reader._buffer)
        gone = in_kernel(near, termios.TIOCOUTQ) + in_kernel(socket, termios.FIONREAD) + read
        assert 0 < taken < len(lent.data)
        assert taken - gone <= 1 << 20
        release.set()
        await sending
    assert lent.settled


async def failing(work: Awaitable[object]) -> None:
    with pytest.raises(NetworkError):
        await work


@pytest.mark.usefixtures("plain_body")
async def test_a_server_that_takes_nothing_is_given_up() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.Event().wait()

    lent = Lent(bytes(64 << 20))
    async with raw_server(talk) as host:
        with pytest.raises(NetworkError, match="nothing was taken for too long") as caught:
            await send(host, lent.stream(), settings=RegistrySettings(stall_timeout=0.1))
    assert caught.value.transient
    assert caught.value.host == host
    assert lent.settled


async def test_a_server_that_takes_a_little_is_not_given_up() -> None:
    class Draining(asyncio.Transport):
        left = 1000

        def get_write_buffer_size(self) -> int:
            return self.left

    transport, loop = Draining(), asyncio.get_running_loop()
    transfer = Speeds(1, 3600).begin("h")
    async with asyncio.timeout(3600) as limit, _Extension(transport, limit, 7200, transfer):
        before = limit.when()
        assert before
        watch = _Extension(transport, limit, 7200, transfer)
        async with watch:
            watch._check()
            assert limit.when() == before
            transport.left -= 1
            watch._check()
            assert (limit.when() or 0) > loop.time() + 7000


async def test_the_response_to_a_body_may_take_longer_than_a_stall() -> None:
    async def slow(request: web.Request) -> web.Response:
        await request.read()
        await asyncio.sleep(0.03)
        return web.Response(status=201)

    settings = RegistrySettings(stall_timeout=0.01, commit_timeout=10)
    async with answering(slow) as server:
        assert await send(server.address, b"x", "PUT", settings) == (201, b"")
        with pytest.raises(NetworkError, match="nothing arrived"):
            await send(server.address, None, "GET", settings)


@pytest.mark.parametrize("secure", [False, True])
async def test_the_connection_is_kept_for_the_next_body(server_tls: ssl.SSLContext, secure: bool) -> None:
    ports: list[int] = []

    async def sink(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.append(request.transport.get_extra_info("peername")[1])
        await request.content.read()
        return web.Response(status=201)

    tls = server_tls if secure else None
    async with answering(sink, tls=tls) as server, Transport(RegistrySettings(tls_verify=False), 1) as transport:
        url = URL(f"{'https' if secure else 'http'}://{server.address}/x")
        for size in (0, 1, 1000, 1 << 20, len(DATA)) * 2:
            assert (await ask(transport, url, Lent(DATA[:size]).stream()))[0] == 201
            assert (await ask(transport, url, DATA[:size]))[0] == 201
    assert len(ports) == 20
    assert len(set(ports)) == 1


@pytest.mark.usefixtures("plain_body")
@pytest.mark.parametrize("closes", [False, True])
async def test_an_early_response_ends_the_sending(closes: bool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        extra = b"Connection: close\r\n" if closes else b""
        writer.write(b"HTTP/1.1 413 Too Large\r\n" + extra + b"Content-Length: 3\r\n\r\nbig")
        await writer.drain()
        if not closes:
            await reader.read()

    lent = Lent(bytes(64 << 20))
    async with raw_server(talk) as host:
        assert await send(host, lent.stream()) == (413, b"big")
    assert lent.taken < len(lent.data)
    assert lent.settled


@pytest.mark.usefixtures("plain_body")
async def test_a_server_that_hangs_up_is_a_network_error() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await reader.readexactly(1000)

    lent = Lent(bytes(64 << 20))
    async with raw_server(talk) as host:
        with pytest.raises(NetworkError) as caught:
            await send(host, lent.stream())
    assert caught.value.transient
    assert lent.settled


@pytest.mark.usefixtures("plain_body")
async def test_an_error_of_reading_a_body_is_raised() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 1000
        raise StorageError("cannot read it", path="it")

    async with answering(Sink()) as server:
        with pytest.raises(StorageError, match="cannot read it"):
            await send(server.address, StreamedBody(2000, "the content", pieces))


@pytest.mark.usefixtures("plain_body")
@pytest.mark.parametrize(("size", "why"), [(999, "more"), (1001, "fewer"), (2001, "fewer")])
async def test_a_body_of_another_length_is_not_sent(size: int, why: str) -> None:
    lent = Lent(bytes(1000), piece=1000)
    async with answering(Sink()) as server:
        with pytest.raises(ContentError, match=f"the content has {why} bytes than the {size}"):
            await send(server.address, StreamedBody(size, "the content", lent.stream().open))
    assert lent.settled


@pytest.mark.usefixtures("plain_body")
@pytest.mark.parametrize("status", [307, 308])
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_redirect_that_keeps_the_method_is_followed_bare(status: int, streamed: bool) -> None:
    lent = Lent(DATA[:1000])
    there, here = Sink(), Sink(status)
    async with answering(there) as elsewhere, answering(here) as server:
        here.locations["/x"] = f"http://{elsewhere.address}/y?sig=a%2Fb"
        assert await send(server.address, lent.stream() if streamed else lent.data) == (201, b"taken")
    [request] = elsewhere.requests
    assert (request.method, request.raw_path) == ("PUT", "/y?sig=a%2Fb")
    assert there.bodies == [lent.data]
    assert not elsewhere.secrets()
    assert server.secrets()
    assert lent.settled


@pytest.mark.parametrize("status", [301, 302, 303])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
async def test_a_redirect_that_may_change_the_method_is_not_followed(status: int, method: str) -> None:
    sink = Sink(status, locations={"/x": "/y"})
    async with answering(sink) as server:
        with pytest.raises(RegistryError, match=f"answered a {method} with a redirect") as caught:
            await send(server.address, b"x", method)
    assert len(server.requests) == 1
    assert not caught.value.transient


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirected_head_stays_a_head(status: int) -> None:
    sink = Sink(status, locations={"/x": "/y"})
    async with answering(sink) as server:
        assert (await send(server.address, None, "HEAD"))[0] == 201
    assert [request.method for request in server.requests] == ["HEAD", "HEAD"]


@pytest.mark.usefixtures("plain_body")
@pytest.mark.parametrize("phase", ["reading", "writing", "waiting", "answering"])
async def test_a_request_cancelled_in_any_phase_leaves_no_task_and_no_connection(phase: str) -> None:
    reached, never = asyncio.Event(), asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, headers = await request_head(reader)
        if line.startswith("GET"):
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()
            return
        if phase == "writing":
            writer.transport.pause_reading()  # type: ignore[attr-defined]
        elif phase != "reading":
            await reader.readexactly(int(headers["content-length"]))
        if phase == "answering":
            writer.write(b"HTTP/1.1 201 Created\r\nContent-Length: 100\r\n\r\nhalf")
            await writer.drain()
        reached.set()
        await never.wait()

    size = (64 << 20) if phase == "writing" else 4000
    lent = Lent(bytes(size), piece=1000 if size == 4000 else 1 << 20)
    lent.gate, lent.gated = (never, 2) if phase == "reading" else (None, 0)
    async with raw_server(talk) as host, Transport(SETTINGS, 1) as transport:
        before = asyncio.all_tasks()
        url = URL(f"http://{host}/x")
        task = asyncio.ensure_future(ask(transport, url, lent.stream()))
        await reached.wait()
        # Until it is where it stays.
        for _ in range(100):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert lent.settled
        assert len(lent.opened) == 1
        # Another request on the only connection that there may be.
        assert await ask(transport, url, None, "GET") == (200, b"ok")
        # The server's tasks for the two connections.
        assert len(asyncio.all_tasks() - before) <= 2


@pytest.mark.usefixtures("plain_body")
async def test_a_cancellation_waits_for_the_end_of_a_body() -> None:
    """An early response ends a body in the middle of a read, which goes on: its source must not be closed before."""
    reading, release, closing = asyncio.Event(), asyncio.Event(), asyncio.Event()
    ended: list[str] = []

    async def pieces() -> AsyncIterator[bytes]:
        yield b"x" * 10
        reading.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            # As a thread does that is in the middle of its work.
            closing.set()
            await release.wait()
            ended.append("reading")
            raise

    async def early(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await reading.wait()
        writer.write(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        await writer.drain()
        await reader.read()

    async def request(host: str) -> None:
        try:
            await send(host, StreamedBody(1000, "a body", pieces))
        finally:
            ended.append("request")

    async with raw_server(early) as host:
        asking = asyncio.create_task(request(host))
        await closing.wait()
        for _ in range(3):
            asking.cancel()
            for _ in range(10):
                await asyncio.sleep(0)
        assert ended == []
        release.set()
        with pytest.raises(asyncio.CancelledError):
            await asking
    assert ended == ["reading", "request"]


async def read(reader: SourceBlob, start: int, length: int, most: int | None = None) -> bytes:
    """Read a stretch, or its first pieces."""
    got = bytearray()
    pieces = reader.body(start, length).open()
    async for piece in pieces:
        got += piece
        if most is not None and len(got) >= most:
            break
    await pieces.aclose()  # type: ignore[attr-defined]
    return bytes(got)


@given(piece=st.integers(1, 12_000), cuts=st.lists(st.integers(0, len(SHORT)), max_size=8))
def test_stretches_that_follow_each_other_open_the_source_once(piece: int, cuts: list[int]) -> None:
    async def run() -> None:
        lent = Lent(SHORT, piece)
        reader = SourceBlob(lent, "it")
        edges = sorted({0, len(SHORT), *cuts})
        parts = [await read(reader, start, stop - start) for start, stop in itertools.pairwise(edges)]
        assert b"".join(parts) == SHORT
        assert lent.opened == [0]
        assert reader.furthest == len(SHORT)
        await reader.aclose()
        await reader.aclose()
        assert lent.settled

    asyncio.run(run())


async def test_a_stretch_that_was_sent_is_opened_again() -> None:
    lent = Lent(SHORT, 1000)
    reader = SourceBlob(lent, "it")
    assert await read(reader, 0, 2500) == SHORT[:2500]
    assert await read(reader, 0, 2500) == SHORT[:2500]
    assert await read(reader, 2500, 100) == SHORT[2500:2600]
    assert await read(reader, 9000, 1000) == SHORT[9000:]
    assert lent.opened == [0, 0, 9000]
    assert (lent.closed, reader.furthest) == (2, len(SHORT))
    await reader.aclose()
    assert lent.settled


async def test_a_stretch_left_in_the_middle_is_opened_again() -> None:
    lent = Lent(SHORT, 1000)
    reader = SourceBlob(lent, "it")
    assert await read(reader, 0, 5000, most=1500) == SHORT[:2000]
    assert await read(reader, 1500, 1000) == SHORT[1500:2500]
    assert lent.opened == [0, 1500]
    await reader.aclose()


async def test_an_interrupted_stretch_is_opened_again() -> None:
    never = asyncio.Event()
    lent = Lent(SHORT, 1000, gate=never, gated=2)
    reader = SourceBlob(lent, "it")
    task = asyncio.ensure_future(read(reader, 0, 5000))
    for _ in range(10):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    lent.gate = None
    assert await read(reader, 2000, 3000) == SHORT[2000:5000]
    assert lent.opened == [0, 2000]
    await reader.aclose()
    assert lent.settled


async def test_a_source_that_ends_early_ends_the_stretch() -> None:
    reader = SourceBlob(Lent(SHORT, 3000), "it")
    assert await read(reader, 9990, 100) == SHORT[9990:]


async def test_an_iterator_without_aclose_is_read() -> None:
    class Bare:
        def __aiter__(self) -> AsyncIterator[bytes]:
            return self

        async def __anext__(self) -> bytes:
            return b"abc"

    reader = SourceBlob(lambda _: Bare(), "it")
    assert await read(reader, 0, 5) == b"abcab"
    assert await read(reader, 5, 2) == b"ca"
    await reader.aclose()
