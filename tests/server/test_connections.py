"""Connections of the server: what they tell, and how many there may be."""

from __future__ import annotations

import pytest

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
