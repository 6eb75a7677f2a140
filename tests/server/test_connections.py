"""Connections of the server: what they tell, and how many there may be."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.server.app import serving
from hangar_async.server.page import Page
from hangar_async.testing.memory import MemoryContent
from tests.server.rig import ask


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
