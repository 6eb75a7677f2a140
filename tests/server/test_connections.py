"""Connections of the server: what they tell, and how many there may be."""

from __future__ import annotations

import asyncio
import gc
import gzip
import logging
import socket
import ssl
import weakref
from contextlib import suppress
from typing import Any

import aiohttp
import pytest
import trustme
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.server.app import serving
from hangar_async.server.connections import Connection, Limits, OpenConnections
from hangar_async.server.page import Page
from hangar_async.testing.memory import MemoryContent
from tests.server.rig import LOOPS, ask, run


@pytest.mark.parametrize(
    ("request_line", "status"),
    [
        ("GET /v2/ HTTP/1.1", 200),
        ("GET / HTTP/1.1", 200),
        ("GET /v2/x/tags/list HTTP/1.1", 404),
        ("PUT /v2/ HTTP/1.1", 405),
        ("GET /v2/ HTTP/1.1\r\nExpect: nonsense", 417),
        ("nonsense", 400),
        ("GET /\xff HTTP/1.1", 400),
        ("GET http://[ HTTP/1.1", 400),
    ],
)
async def test_no_response_tells_versions(request_line: str, status: int) -> None:
    async with serving(MemoryContent(), page=Page("x", [])) as address:
        answer = await ask(address, f"{request_line}\r\nHost: x\r\nConnection: close\r\n\r\n".encode("latin-1"))
    head = answer.partition(b"\r\n\r\n")[0]
    assert head.split()[1] == str(status).encode()
    assert head.count(b"Server:") == head.count(b"Server: hangar_async\r\n") == 1 or head.endswith(b"hangar_async")
    assert b"aiohttp" not in answer
    assert b"Python" not in answer


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b"\x16\x03\x01\x02\0\x01\0", "127.0.0.1 speaks TLS, and plain HTTP is served here"),
        (b"nonsense\r\n\r\n", "127.0.0.1 speaks no HTTP that is read here"),
        (b"GET http://[ HTTP/1.1\r\n\r\n", "127.0.0.1 speaks no HTTP that is read here"),
    ],
)
async def test_a_client_that_speaks_no_http_is_one_line(
    caplog: pytest.LogCaptureFixture, data: bytes, line: str
) -> None:
    caplog.set_level(logging.DEBUG, "hangar_async")
    async with serving(MemoryContent()) as address:
        assert (await ask(address, data)).startswith(b"HTTP/1.0 400")
    assert [(record.getMessage(), record.exc_info) for record in caplog.records] == [(line, None)]


async def test_a_fault_of_the_server_ends_its_connection(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hangar_async")

    @web.middleware
    async def fault(request: web.Request, handler: Handler) -> web.StreamResponse:
        raise RuntimeError(f"no {handler} for {request}")

    async with serving(MemoryContent(), middlewares=[fault]) as address:
        answer = await ask(address, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 500")
    assert b"a fault of the server" in answer
    (record,) = caplog.records
    assert record.exc_info is not None


REQUEST = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"
LAST = b"GET /v2/ HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


async def until_served(address: str) -> None:
    while True:
        if (await ask(address, LAST)).startswith(b"HTTP/1.1 200"):
            return


async def test_a_connection_beyond_the_limit_is_refused() -> None:
    async with serving(MemoryContent(), limits=Limits(connections=2, per_address=2)) as address:
        held = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            held.append(writer)
        assert (await ask(address, b"")).startswith(b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\n")
        held[0].close()
        await until_served(address)
        held[1].close()


async def test_an_address_gets_half_of_the_connections() -> None:
    async with serving(MemoryContent(), limits=Limits(connections=5)) as address:
        host, port = address.split(":")
        held = []
        for _ in range(2):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(REQUEST)
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            held.append(writer)
        assert (await ask(address, LAST)).startswith(b"HTTP/1.1 503")
        reader, writer = await asyncio.open_connection(host, port, local_addr=("127.0.0.2", 0))
        writer.write(LAST)
        assert (await reader.read()).startswith(b"HTTP/1.1 200")
        for one in (*held, writer):
            one.close()


@pytest.mark.parametrize("loop", LOOPS)
def test_connections_without_a_handshake_count(
    loop: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        limits = Limits(connections=2, per_address=2)
        async with serving(MemoryContent(), tls=server_tls, limits=limits) as address:
            host, port = address.split(":")
            silent = [await asyncio.open_connection(host, port) for _ in range(2)]
            with suppress(ConnectionError):
                assert await ask(address, b"") == b""
            for _, writer in silent:
                writer.close()
            await until_answered(address, client_tls)

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("first", [b"", REQUEST, b"\x16\x03\x01\x02\0"])
def test_a_handshake_that_does_not_end_leaves_its_place(
    loop: str, first: bytes, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext
) -> None:
    async def main() -> None:
        limits = Limits(connections=1, per_address=1, handshake=0.05)
        async with serving(MemoryContent(), tls=server_tls, limits=limits) as address:
            with suppress(ConnectionError):
                assert not (await ask(address, first)).startswith(b"HTTP")
            await until_answered(address, client_tls)

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
@pytest.mark.parametrize("first", [b"", REQUEST])
def test_a_handshake_that_fails_leaves_no_memory(loop: str, first: bytes, server_certificate: trustme.LeafCert) -> None:
    count = 0
    kept: weakref.WeakSet[ssl.SSLObject] = weakref.WeakSet()

    class Context(ssl.SSLContext):
        def wrap_bio(self, *arguments: Any, **settings: Any) -> ssl.SSLObject:
            nonlocal count
            count += 1
            side = super().wrap_bio(*arguments, **settings)
            kept.add(side)
            return side

    async def main() -> None:
        tls = Context(ssl.PROTOCOL_TLS_SERVER)
        server_certificate.configure_cert(tls)
        async with serving(MemoryContent(), tls=tls, limits=Limits(connections=1, per_address=1)) as address:
            reader, writer = await asyncio.open_connection(*address.split(":"))
            writer.write(first)
            writer.write_eof()
            with suppress(ConnectionError):
                assert not (await reader.read()).startswith(b"HTTP")
            writer.close()
        assert count == 1

    gc.disable()
    try:
        run(loop, main)
        assert not kept
    finally:
        gc.enable()


async def until_answered(address: str, client_tls: ssl.SSLContext) -> None:
    while True:
        with suppress(aiohttp.ClientConnectionError):
            async with (
                aiohttp.ClientSession() as session,
                session.get(f"https://{address}/v2/", ssl=client_tls) as answer,
            ):
                assert answer.status == 200
                return


def flood(address: str, requests: bytes, tls: ssl.SSLContext | None) -> None:
    """Send requests, and take no response, until the connection is cut off."""
    host, port = address.split(":")
    with suppress(ConnectionError, ssl.SSLError), socket.create_connection((host, int(port)), 60) as client:
        if tls is not None:
            client = tls.wrap_socket(client, server_hostname="localhost")
        with client:
            while True:
                client.sendall(requests)


@pytest.mark.parametrize("loop", LOOPS)
def test_requests_whose_responses_are_not_taken_are_cut_off(
    loop: str, tls_contexts: tuple[ssl.SSLContext | None, ssl.SSLContext | None]
) -> None:
    async def main() -> None:
        content = MemoryContent()
        path = f"/v2/a/blobs/{content.add_blob('a', bytes(9))}"
        request = f"HEAD {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        async with serving(content, tls=tls_contexts[0], limits=Limits(stalled=0.02)) as address:
            await asyncio.to_thread(flood, address, request * 100, tls_contexts[1])

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_writes_to_a_client_that_is_gone_are_no_lines(
    loop: str, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, caplog: pytest.LogCaptureFixture
) -> None:
    content = MemoryContent()
    request = f"GET /v2/a/blobs/{content.add_blob('a', bytes(1 << 20))} HTTP/1.1\r\nHost: x\r\n\r\n".encode()

    def ask_and_close(address: str) -> None:
        host, port = address.split(":")
        with socket.create_connection((host, int(port)), 60) as plain:
            client = client_tls.wrap_socket(plain, server_hostname="localhost")
            # With many requests the end of the client's side is read after most of them are answered.
            client.sendall(request * 100)
            client.shutdown(socket.SHUT_WR)
            with client, suppress(OSError):
                while client.recv(1 << 16):
                    pass

    async def main() -> None:
        async with serving(content, tls=server_tls) as address:
            await asyncio.to_thread(ask_and_close, address)

    run(loop, main)
    assert caplog.records == []


class Unread(asyncio.Transport):
    """A transport of TLS whose client takes no more bytes; what waits for it is not told."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = 0
        self.aborted = asyncio.Event()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Take any limits."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return bool(self.closed)

    def close(self) -> None:
        self.closed += 1

    def abort(self) -> None:
        self.aborted.set()


async def test_a_client_that_closes_its_side_and_takes_nothing_is_cut_off() -> None:
    async def handler(_: web.BaseRequest) -> web.StreamResponse:
        raise AssertionError

    transport = Unread()
    connection = Connection(web.Server(handler), Limits(stalled=0.001), lambda: None)
    connection.connection_made(transport)
    connection.eof_received()
    connection.eof_received()
    await transport.aborted.wait()
    assert transport.closed == 1
    connection.connection_lost(None)


def test_connections_by_address() -> None:
    counts = OpenConnections(3, 2)
    assert [counts.enter(address) for address in ("a", "a", "a", "b", "c")] == [True, True, False, True, False]
    counts.leave("a")
    assert [counts.enter(address) for address in ("b", "c")] == [True, False]


async def test_a_request_that_comes_byte_by_byte_has_no_more_time() -> None:
    async with serving(MemoryContent(), limits=Limits(idle=0.05)) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        end = asyncio.ensure_future(reader.read())
        writer.write(b"GET /v2/ HTTP/1.1\r\nX: ")
        while not end.done():
            writer.write(b"x")
            await asyncio.wait([end], timeout=0.01)
        with suppress(ConnectionError):
            assert await end == b""
        writer.close()


async def test_many_requests_at_once_are_answered_one_after_the_other() -> None:
    async with serving(MemoryContent()) as address:
        answer = await ask(address, REQUEST * 1000 + LAST)
    assert answer.count(b"HTTP/1.1 200") == 1001


@pytest.mark.parametrize(
    "headers", [b"Content-Length: 1000000000000\r\n", b"Content-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n"]
)
async def test_the_body_of_a_request_is_thrown_away_for_a_short_time(headers: bytes) -> None:
    bomb = gzip.compress(bytes(1 << 20))
    piece = b"%x\r\n%b\r\n" % (len(bomb), bomb)
    async with serving(MemoryContent(), limits=Limits(linger=0.05)) as address:
        reader, writer = await asyncio.open_connection(*address.split(":"))
        writer.write(b"PUT /v2/ HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 405")
        with pytest.raises(ConnectionError):
            while True:
                writer.write(piece)
                await writer.drain()
        writer.close()
