"""The least speed of transfers; tests/registry/http/test_transport.py has the limits of other answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.limits import Speeds
from hangar_async.registry.http.request_body import StreamedBody
from hangar_async.registry.http.transport import Transport
from tests.fakes.registry import answering
from tests.registry.rig import BLOB, DATA, raw_server, request_head, serve_blob

#: A peer has to give or take 100,000 bytes in a tenth of a second of waiting.
FAST = {"least_speed": 1_000_000, "least_speed_span": 0.1}


def test_only_a_whole_span_of_waiting_is_judged() -> None:
    transfer = Speeds(1024, 300).begin("h")
    transfer.note(299, 0)
    assert transfer.left == 1
    assert transfer.failure is None
    transfer.note(1, 1000 * 300)
    assert transfer.left == 300
    error = transfer.failure
    assert isinstance(error, NetworkError)
    assert str(error) == "h: too slow, 1000 bytes a second in 5 minutes"
    assert error.transient
    assert error.host == "h"


def test_the_transfers_of_a_host_share_it() -> None:
    speeds = Speeds(1024, 300)
    transfers = [speeds.begin("h") for _ in range(4)]
    speeds.begin("other")
    for transfer in transfers:
        transfer.note(300, 256 * 300)
    transfers[0].end()
    transfers[0].end()
    transfers[1].end()
    transfers[2].note(300, 512 * 300)
    assert [transfer.failure for transfer in transfers] == [None] * 4
    transfers[3].note(300, 512 * 300 - 1)
    assert transfers[3].failure is not None
    for transfer in transfers:
        transfer.end()
    assert speeds.transfers == {"other": 1}


@pytest.mark.parametrize("gained", [0, 5])
def test_it_uses_up_a_try_also_where_bytes_were_gained(gained: int) -> None:
    error = NetworkError("slow", host="h", too_slow=True)
    error.gained = gained
    assert error.uses_try


async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    line, _ = await request_head(reader)
    if "/blobs/" not in line:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    writer.write(f"HTTP/1.1 200 OK\r\nContent-Length: {len(DATA)}\r\n\r\n".encode())
    for byte in DATA:
        writer.write(bytes([byte]))
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("buffered", [False, True])
async def test_a_blob_that_comes_a_byte_at_a_time_is_given_up(buffered: bool) -> None:
    settings = RegistrySettings(buffered=buffered, **FAST)  # type: ignore[arg-type]
    got = b""
    async with raw_server(drip) as host, RegistryClient(settings) as client:
        image = Reference.parse(f"{host}/team/app")
        with pytest.raises(NetworkError, match="too slow") as caught:
            async with client.open_blob(image, BLOB) as body:
                async for piece in body.pieces():
                    got += bytes(piece)
        assert got == DATA[: len(got)] != b""
        assert caught.value.gained == len(got)
        assert caught.value.uses_try
        assert client._transport.speeds.transfers == {}


async def test_a_body_without_end_that_has_no_bytes_is_given_up() -> None:
    async def extend(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _ = await request_head(reader)
        if "/blobs/" not in line:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;")
        while not writer.is_closing():
            writer.write(b"extension;")
            await writer.drain()
            await asyncio.sleep(0.005)

    settings = RegistrySettings(**FAST)  # type: ignore[arg-type]
    async with asyncio.timeout(10), raw_server(extend) as host, RegistryClient(settings) as client:
        with pytest.raises(NetworkError, match="too slow"):
            async with client.open_blob(Reference.parse(f"{host}/team/app"), BLOB) as body:
                await anext(body.pieces())


@pytest.mark.parametrize("buffered", [False, True])
async def test_the_time_of_a_slow_reader_does_not_count(buffered: bool) -> None:
    settings = RegistrySettings(buffered=buffered, least_speed=1 << 40, least_speed_span=3600)

    async with answering(serve_blob) as registry, RegistryClient(settings) as client:
        image = Reference.parse(f"{registry.address}/team/app")
        async with client.open_blob(image, BLOB) as body:
            [transfer] = [body._pieces._transfer]  # type: ignore[attr-defined]
            waited = 0.0
            async for _ in body.pieces():
                await asyncio.sleep(0.02)
                waited += 0.02
        assert transfer._waited < waited


async def test_a_server_that_takes_a_little_at_a_time_is_given_up() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        for _ in range(1_000_000):
            await reader.readexactly(1)
            await asyncio.sleep(0.005)

    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield bytes(1 << 20)

    settings = RegistrySettings(stall_timeout=0.4, least_speed=1 << 40, least_speed_span=0.1)
    async with raw_server(talk) as host, Transport(settings, 1) as transport:
        transport.named.add(host)
        body = StreamedBody(64 << 20, "it", pieces)
        with pytest.raises(NetworkError, match="too slow"):
            async with await transport.send(URL(f"http://{host}/x"), host, headers={}, method="PUT", body=body):
                pytest.fail("it has no answer")
        assert transport.speeds.transfers == {}


async def test_a_small_response_needs_no_speed() -> None:
    async def slow(request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.05)
        return web.Response(body=b"x")

    settings = RegistrySettings(least_speed=1 << 40, least_speed_span=0.01)
    async with answering(slow) as server, Transport(settings, 1) as transport:
        transport.named.add(server.address)
        async with await transport.send(URL(f"http://{server.address}/x"), server.address, headers={}) as response:
            assert await response.read("it", 10) == b"x"
