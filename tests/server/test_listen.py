"""Sockets: where is listened, how many may come, how long they may idle."""

from __future__ import annotations

import logging
import socket
import ssl
from contextlib import suppress

import aiohttp
import pytest

from hangar_async.errors import ListenError
from hangar_async.server.app import serving
from hangar_async.server.connections import Limits
from hangar_async.testing.memory import MemoryContent
from tests.server.rig import ask


async def test_a_port_in_use_is_told() -> None:
    async with serving(MemoryContent()) as address:
        host, port = address.split(":")
        with pytest.raises(ListenError, match=rf"cannot listen on 127\.0\.0\.1:{port}: .*in use"):
            async with serving(MemoryContent(), host, int(port)):
                pass


@pytest.mark.parametrize(("host", "port"), [("no-such-host.invalid", 0), ("192.0.2.1", 0), ("127.0.0.1", 70000)])
async def test_addresses_that_cannot_be_had(host: str, port: int) -> None:
    with pytest.raises(ListenError, match=f"cannot listen on {host}:{port}: "):
        async with serving(MemoryContent(), host, port):
            pass


async def test_all_addresses() -> None:
    async with serving(MemoryContent(), "") as address:
        assert address.startswith(":")
        async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1{address}/v2/") as answer:
            assert answer.status == 200


@pytest.mark.parametrize("data", [b"", b"GET /v2/ HTTP/1.1\r\nHost:", b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n"])
async def test_a_connection_without_a_request_is_closed(data: bytes) -> None:
    async with serving(MemoryContent(), limits=Limits(idle=0.01)) as address:
        answer = await ask(address, data)
        assert answer.startswith(b"HTTP/1.1 200") == data.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
        b"GET /" + b"x" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v2/ HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: 1\r\n" % number for number in range(500)) + b"\r\n",
    ],
    ids=["nonsense", "header", "line", "headers"],
)
async def test_a_malformed_request_is_refused_and_reaches_no_handler(
    data: bytes, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(MemoryContent()) as address:
        assert (await ask(address, data)).startswith(b"HTTP/1.0 400")
    assert capfd.readouterr().err == ""
    assert {record.name for record in caplog.records} <= {"hangar_async.server.listen"}


async def test_each_request_is_a_line_for_debugging(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hangar_async")
    headers = {"Authorization": "Basic c2VjcmV0"}
    async with (
        serving(MemoryContent()) as address,
        aiohttp.ClientSession(f"http://{address}", headers=headers) as session,
        session.get("/v2/a/tags/list?n=1") as answer,
    ):
        await answer.read()
    (line,) = [record.getMessage() for record in caplog.records if "GET" in record.getMessage()]
    assert line.startswith("127.0.0.1 GET /v2/a/tags/list?n=1: 404, ")
    assert "c2VjcmV0" not in caplog.text


async def test_a_client_that_speaks_no_tls_ends_nothing(
    server_tls: ssl.SSLContext, client_tls: ssl.SSLContext, capfd: pytest.CaptureFixture[str]
) -> None:
    async with serving(MemoryContent(), tls=server_tls) as address, aiohttp.ClientSession() as session:
        with suppress(ConnectionError):
            assert not (await ask(address, b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")).startswith(b"HTTP")
        async with session.get(f"https://{address}/v2/", ssl=client_tls) as answer:
            assert answer.status == 200
    assert capfd.readouterr().err == ""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


async def test_a_port_is_free_again_at_once() -> None:
    port = free_port()
    for _ in range(2):
        async with (
            serving(MemoryContent(), port=port) as address,
            aiohttp.ClientSession() as session,
            session.get(f"http://{address}/v2/") as answer,
        ):
            assert answer.status == 200
