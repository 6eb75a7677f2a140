"""Ranges: what a client asks for is what it gets, or all of it."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler
from hypothesis import given, strategies as st

from hangar_async.oci.digest import Digest
from hangar_async.server import app
from hangar_async.server.app import serving
from hangar_async.server.connections import Limits
from hangar_async.server.page import Page, ShownImage
from hangar_async.server.responses import byte_range, document, refusal
from hangar_async.testing.memory import MemoryContent
from tests.server.rig import LOOPS, run

numbers = st.integers(0, 60) | st.integers(0, 1 << 60)


def sliced(data: bytes, text: str) -> bytes | None:
    """The bytes that a Range selects; None for an empty one."""
    try:
        found = byte_range(text, len(data))
    except ValueError:
        return None
    return data if found is None else data[found[0] : found[1]]


@given(st.binary(max_size=50), numbers, numbers)
def test_from_one_byte_to_another(data: bytes, first: int, last: int) -> None:
    expected: bytes | None = data[first : last + 1] or None
    if last < first:
        expected = data  # it makes no sense, and is passed over
    assert sliced(data, f"bytes={first}-{last}") == expected


@given(st.binary(max_size=50), numbers)
def test_from_one_byte_on(data: bytes, first: int) -> None:
    assert sliced(data, f"bytes={first}-") == (data[first:] or None)


@given(st.binary(max_size=50), numbers)
def test_the_last_bytes(data: bytes, count: int) -> None:
    assert sliced(data, f"bytes=-{count}") == ((data[-count:] if count else b"") or None)


@given(st.binary(max_size=50), st.lists(st.tuples(numbers, numbers), min_size=2, max_size=3))
def test_several_are_all_of_it(data: bytes, ranges: list[tuple[int, int]]) -> None:
    assert sliced(data, "bytes=" + ",".join(f"{first}-{last}" for first, last in ranges)) == data


def test_an_error_has_one_code() -> None:
    answer = refusal(404, "NAME_UNKNOWN", "no", {"name": "x"}, {"X": "1"})
    assert (answer.status, answer.content_type, answer.headers["X"]) == (404, "application/json", "1")
    assert answer.text is not None
    assert json.loads(answer.text) == {"errors": [{"code": "NAME_UNKNOWN", "message": "no", "detail": {"name": "x"}}]}


def test_a_document_with_a_name_that_is_not_utf_8_has_replacements() -> None:
    assert document({"a\udcff": ["ö\ud800"]}).body == '{"a\ufffd": ["ö\ufffd"]}'.encode()


@pytest.mark.parametrize("text", ["", "bytes", "bytes=", "bytes=a-b", "items=0-1", "bytes=0--1", "bytes=1", "0-1"])
def test_an_invalid_range_is_refused(text: str) -> None:
    assert byte_range(text, 10) is None


@given(st.lists(st.sampled_from(["bytes", "=", "-", ",", " ", "0", "5", "9" * 25, "\u0663"]), max_size=8).map("".join))
def test_any_text_is_a_range_within_or_none(text: str) -> None:
    try:
        found = byte_range(text, 10)
    except ValueError:
        return
    assert found is None or 0 <= found[0] < found[1] <= 10


PIECE = 300_000
PIECES = 12
ASKED = f"/v2/a/blobs/sha256:{'0' * 64}"


class Reused(MemoryContent):
    """Content of one buffer that is filled again and again; tells when its reading is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()
        self.asked = 0

    async def size(self, repository: str, digest: Digest) -> int | None:
        return PIECES * PIECE

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        buffer = memoryview(bytearray(PIECE))
        try:
            for number in range(PIECES):
                buffer[:] = bytes([number]) * PIECE
                self.asked += 1
                yield buffer
        finally:
            buffer[:] = b"x" * PIECE
            self.over.set()


async def connect(
    address: str, path: str, tls_contexts: ssl.SSLContext | None
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Ask for something as a client that takes little at a time."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.setblocking(False)
    host, port = address.split(":")
    await asyncio.get_running_loop().sock_connect(connection, (host, int(port)))
    name = "localhost" if tls_contexts else None
    reader, writer = await asyncio.open_connection(sock=connection, ssl=tls_contexts, server_hostname=name, limit=8192)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    return reader, writer


Both = tuple[ssl.SSLContext | None, ssl.SSLContext | None]


@pytest.mark.parametrize("loop", LOOPS)
def test_a_slow_client_gets_what_was_in_the_buffer_when_it_was_sent(loop: str, tls_contexts: Both) -> None:
    async def main() -> None:
        content = Reused()
        async with serving(content, tls=tls_contexts[0]) as address:
            reader, writer = await connect(address, ASKED, tls_contexts[1])
            await reader.readuntil(b"\r\n\r\n")
            got = bytearray()
            while data := await reader.read(5000):
                got += data
                await asyncio.sleep(0)
            writer.close()
        assert got == b"".join(bytes([number]) * PIECE for number in range(PIECES))

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_a_client_that_takes_nothing_is_cut_off(loop: str, tls_contexts: Both) -> None:
    async def main() -> None:
        content = Reused()
        async with serving(content, tls=tls_contexts[0], limits=Limits(stalled=0.02)) as address:
            reader, writer = await connect(address, ASKED, tls_contexts[1])
            await reader.readuntil(b"\r\n\r\n")
            await content.over.wait()
            assert content.asked < PIECES
            got = 0
            try:
                while data := await reader.read(1 << 16):
                    assert b"x" not in data
                    got += len(data)
            except ConnectionError:
                pass
            assert got < PIECES * PIECE
            writer.close()

    run(loop, main)


@pytest.mark.parametrize("loop", LOOPS)
def test_the_end_of_the_server_sends_nothing_of_a_buffer_that_is_used_again(loop: str, tls_contexts: Both) -> None:
    async def main() -> None:
        content = Reused()
        async with serving(content, tls=tls_contexts[0], grace=0.01) as address:
            reader, writer = await connect(address, ASKED, tls_contexts[1])
            await reader.readuntil(b"\r\n\r\n")
        assert content.over.is_set()
        got = bytearray()
        try:
            while data := await reader.read(1 << 16):
                got += data
        except ConnectionError:
            pass
        assert b"x" not in got
        assert len(got) < PIECES * PIECE
        writer.close()

    run(loop, main)


@pytest.mark.parametrize("path", ["/", "/v2/_catalog"])
async def test_other_answers_do_not_wait_for_ever_either(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The buffers of the kernel take a response with fewer names.
    monkeypatch.setattr(app, "_MOST_NAMES", 50_000)
    images = [ShownImage("name" * 20, "sha256:x", 1, (), "name:1")] * 50_000
    content = MemoryContent()
    for number in range(50_000):
        content.add_blob(f"{'name' * 40}/{number}", b"")
    transports = []

    @web.middleware
    async def note(request: web.Request, handler: Handler) -> web.StreamResponse:
        assert request.transport is not None
        transports.append(request.transport)
        return await handler(request)

    limits = Limits(stalled=0.02)
    async with serving(content, page=Page("x", images), limits=limits, middlewares=[note]) as address:
        reader, writer = await connect(address, path, None)
        await reader.readuntil(b"\r\n\r\n")
        for _ in range(10_000):
            if transports[0].is_closing():
                break
            await asyncio.sleep(0.002)
        assert transports[0].is_closing()
        writer.close()
