"""Each fault of the fake registry really happens on the wire."""

from __future__ import annotations

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from blockbuster import BlockingError

from hangar_async.imagelist import read
from hangar_async.oci.digest import Digest
from tests.fakes.faults import Bytes, Close, Cut, Headers, Hold, IgnoreRange, Stall, Status, flipped, redirect
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.fakes.rig import DATA

PATH = f"/v2/app/blobs/{Digest.of(DATA)}"


async def arrived(client: aiohttp.ClientSession, **headers: str) -> tuple[int, bytes, Exception | None]:
    """Ask for the blob: status, the bytes that came, and how it broke."""
    data = bytearray()
    async with client.get(PATH, headers=headers) as answer:
        try:
            async for piece in answer.content.iter_any():
                data += piece
        except aiohttp.ClientError as error:
            return answer.status, bytes(data), error
        return answer.status, bytes(data), None


async def raw_answer(address: str, path: str = PATH) -> tuple[bytes, bytes, bool]:
    """Ask over a bare socket: head, body, and whether the connection was reset."""
    host, port = address.split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n".encode())
    data, reset = bytearray(), False
    try:
        while piece := await reader.read(1 << 16):
            data += piece
    except ConnectionResetError:
        reset = True
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    return head, body, reset


@pytest.mark.parametrize("reset", [False, True])
async def test_close_before_headers(fake_registry: FakeRegistry, client: aiohttp.ClientSession, reset: bool) -> None:
    rule = fake_registry.fail("/blobs/", Close(reset=reset), times=1)
    assert await raw_answer(fake_registry.address) == (b"", b"", reset)
    assert await arrived(client) == (200, DATA, None)
    assert (rule.seen, rule.used) == (2, 1)


@pytest.mark.parametrize("after", [0, 1, 100_000, len(DATA) - 1])
async def test_cut_by_fin_comes_after_exactly_so_many_bytes(
    fake_registry: FakeRegistry, client: aiohttp.ClientSession, after: int
) -> None:
    fake_registry.fail("/blobs/", Cut(after))
    head, body, reset = await raw_answer(fake_registry.address)
    assert f"Content-Length: {len(DATA)}".encode() in head
    assert (body, reset) == (DATA[:after], False)
    fake_registry.fail("/blobs/", Cut(after))
    status, _, error = await arrived(client)
    assert status == 200
    assert isinstance(error, aiohttp.ClientPayloadError)


async def test_cut_by_rst(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    fake_registry.fail("/blobs/", Cut(1000, reset=True))
    head, body, reset = await raw_answer(fake_registry.address)
    assert head.startswith(b"HTTP/1.1 200")
    assert reset
    assert body == DATA[: len(body)]
    assert len(body) <= 1000


async def test_a_cut_counts_from_the_range(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    fake_registry.fail("/blobs/", Cut(10), ranged=True)
    assert await arrived(client) == (200, DATA, None)
    status, data, error = await arrived(client, Range="bytes=1000-")
    assert status == 206
    assert DATA[1000:].startswith(data)
    assert isinstance(error, aiohttp.ClientPayloadError)


async def test_the_range_is_ignored(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    fake_registry.fail("/blobs/", IgnoreRange())
    assert await arrived(client, Range="bytes=5-9") == (200, DATA, None)
    assert await arrived(client, Range="bytes=5-9") == (206, DATA[5:10], None)


async def test_headers_that_lie(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    changes = {"Content-Range": f"bytes 6-10/{len(DATA)}", "Docker-Content-Digest": None, "Content-Type": "text/html"}
    fake_registry.fail("/blobs/", Headers(changes))
    async with client.get(PATH, headers={"Range": "bytes=5-9"}) as answer:
        assert answer.headers["Content-Range"] == f"bytes 6-10/{len(DATA)}"
        assert answer.headers.getall("Content-Type") == ["text/html"]
        assert "Docker-Content-Digest" not in answer.headers
        assert await answer.read() == DATA[5:10]


async def test_wrong_bytes(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    fake_registry.fail("/blobs/", Bytes(flipped))
    fake_registry.fail("/blobs/", Bytes(lambda data: data + b"more"))
    fake_registry.fail("/blobs/", Bytes(lambda data: data[:-1]))
    _, data, _ = await arrived(client)
    assert len(data) == len(DATA)
    assert sum(a != b for a, b in zip(data, DATA, strict=True)) == 1
    assert await arrived(client) == (200, DATA + b"more", None)
    assert await arrived(client) == (200, DATA[:-1], None)


async def test_statuses_and_redirects(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    fake_registry.fail("/blobs/", Status(429, {"Retry-After": "7"}, b"slow down"), times=2)
    fake_registry.fail("/blobs/", redirect("http://127.0.0.1:9/x"))
    for _ in range(2):
        async with client.get(PATH) as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (429, "7")
            assert await answer.read() == b"slow down"
    async with client.get(PATH, allow_redirects=False) as answer:
        assert (answer.status, answer.headers["Location"]) == (307, "http://127.0.0.1:9/x")
    assert await arrived(client) == (200, DATA, None)


async def test_hold_and_stall(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    hold, go_on = Hold(asyncio.Event()), asyncio.Event()
    fake_registry.fail("/blobs/", hold)
    fake_registry.fail("/blobs/", Stall(100_000, go_on))
    async with asyncio.TaskGroup() as group:
        held = group.create_task(arrived(client))
        await hold.reached.wait()
        assert (fake_registry.active, fake_registry.requests[0].status) == (1, None)
        async with client.get(PATH) as answer:
            assert await answer.content.readexactly(100_000) == DATA[:100_000]
            assert (fake_registry.active, fake_registry.peak) == (2, 2)
            go_on.set()
            assert await answer.read() == DATA[100_000:]
        hold.until.set()
    assert held.result() == (200, DATA, None)


async def test_rules_choose_their_requests(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    fake_registry.fail("/blobs/", Status(500), method="HEAD", times=None)
    fake_registry.fail("/manifests/", Status(501), times=None)
    fake_registry.fail("/blobs/", Status(502), skip=1, times=1)
    statuses = []
    for method in ("HEAD", "GET", "GET", "GET", "HEAD"):
        async with client.request(method, PATH) as answer:
            statuses.append(answer.status)
    assert statuses == [500, 200, 502, 200, 500]


async def test_requests_are_noted(fake_registry: FakeRegistry, client: aiohttp.ClientSession) -> None:
    await arrived(client, Authorization="Bearer abc")
    await arrived(client, Range="bytes=0-9")
    async with client.head(PATH), client.get("/v2/gone/tags/list?n=1"):
        pass
    noted = [(one.method, one.path, one.status, one.sent) for one in fake_registry.requests]
    assert noted == [
        ("GET", PATH, 200, len(DATA)),
        ("GET", PATH, 206, 10),
        ("HEAD", PATH, 200, 0),
        ("GET", "/v2/gone/tags/list?n=1", 404, 0),
    ]
    assert [one.authorization for one in fake_registry.asked("/blobs/", "GET")] == ["Bearer abc", None]
    assert (fake_registry.active, fake_registry.peak) == (0, 1)


async def test_a_held_request_does_not_hold_up_the_end() -> None:
    hold = Hold(asyncio.Event())
    async with aiohttp.ClientSession() as session, asyncio.TaskGroup() as group:
        async with fake_registry() as registry:
            registry.fail("", hold)
            asking = group.create_task(broken(session, f"http://{registry.address}/v2/"))
            await hold.reached.wait()
        assert await asking


async def broken(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url):
            return False
    except aiohttp.ClientError:
        return True


async def test_over_tls(server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    connector = aiohttp.TCPConnector(ssl=client_tls)
    async with fake_registry(tls=server_tls) as registry, aiohttp.ClientSession(connector=connector) as session:
        registry.content.add_blob("app", DATA)
        registry.fail("/blobs/", Cut(1000))
        url = f"{registry.scheme}://{registry.address}{PATH}"
        async with session.get(url) as answer:
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        async with session.get(url) as answer:
            assert await answer.read() == DATA


async def test_code_of_ours_that_blocks_the_loop_is_found(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("nginx\n")
    with pytest.raises(BlockingError):
        read(path)
