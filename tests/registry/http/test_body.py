from __future__ import annotations

import asyncio
import socket
import struct
from contextlib import AbstractAsyncContextManager

import aiohttp
import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import HangarError, NetworkError
from hangar_async.oci.reference import Reference
from hangar_async.registry.blobs import BlobBody
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.body import LARGEST_PIECE, SMALLEST_PIECE, BufferedBody, StreamBody
from tests.fakes.registry import FakeRegistry, answering
from tests.registry.http.rig import Play
from tests.registry.rig import (
    BLOB,
    DATA,
    Answer,
    blob_server,
    describe,
    fetch_blob,
    raw_server,
    read_all,
    request_head,
    serve_blob,
)


async def test_a_blob_comes_in_pieces_of_a_bounded_size(settings: RegistrySettings) -> None:
    start, pieces, registry = await fetch_blob(settings, serve_blob)
    assert (start, b"".join(pieces)) == (0, DATA)
    assert all(SMALLEST_PIECE <= len(piece) <= LARGEST_PIECE for piece in pieces[:-1])
    [request] = registry.asked("blobs")
    assert request.path == f"/v2/team/app/blobs/{BLOB.digest}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Range" not in request.headers


async def test_an_empty_blob_has_no_pieces(settings: RegistrySettings) -> None:
    async def empty(request: web.Request) -> web.Response:
        return web.Response()

    assert (await fetch_blob(settings, empty, describe(b"")))[:2] == (0, [])


async def test_a_body_without_length_is_taken(settings: RegistrySettings) -> None:
    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for at in range(0, len(DATA), 10_007):
            await response.write(DATA[at : at + 10_007])
        return response

    assert b"".join((await fetch_blob(settings, chunked))[1]) == DATA


async def broken(
    settings: RegistrySettings, head: bytes, sent: bytes, *, reset: bool = False, stall: bool = False
) -> tuple[bytes, HangarError]:
    """Fetch from a server that says `head`, sends some bytes, and goes; return what arrived, and the error.

    The client looks at the body only when the connection is over, and all that arrived is in the stream; so it has to
    be less than the stream takes without a reader.
    """

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _ = await request_head(reader)
        if "/v2/ " in line:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return
        writer.write(head + sent)
        await writer.drain()
        if reset:
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        if stall:
            await asyncio.Event().wait()
        writer.close()

    arrived = b""
    async with raw_server(talk) as host, RegistryClient(settings) as client:
        with pytest.raises(HangarError) as caught:
            async with client.open_blob(Reference.parse(f"{host}/app"), BLOB) as body:
                feed = body._pieces
                assert isinstance(feed, BufferedBody | StreamBody)
                stream = feed._content
                while stream.exception() is None and not stream.is_eof() and not stall:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                async for piece in body.pieces():
                    arrived += piece
    return arrived, caught.value


LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(DATA)


@pytest.mark.parametrize("sent", [0, 1, 100_000, 250_000])
async def test_a_body_that_ends_early_is_handed_out_as_far_as_it_came(settings: RegistrySettings, sent: int) -> None:
    arrived, error = await broken(settings, LENGTH, DATA[:sent])
    assert arrived == DATA[:sent]
    assert isinstance(error, NetworkError)
    assert (error.transient, error.gained) == (True, sent)


@pytest.mark.parametrize("sent", [100, 250_000])
async def test_a_body_without_length_that_ends_early_is_handed_out(settings: RegistrySettings, sent: int) -> None:
    arrived, error = await broken(settings, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", DATA[:sent])
    assert arrived == DATA[:sent]
    assert isinstance(error, NetworkError)
    assert (error.transient, error.gained) == (True, sent)
    assert f"{sent} of {len(DATA)} bytes" in str(error)


async def test_a_chunked_body_that_breaks_is_handed_out(settings: RegistrySettings) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n" % len(DATA)
    arrived, error = await broken(settings, head, DATA[:250_000])
    assert arrived == DATA[:250_000]
    assert isinstance(error, NetworkError)
    assert error.gained == 250_000


async def test_a_body_that_stalls_is_handed_out_as_far_as_it_came(settings: RegistrySettings) -> None:
    arrived, error = await broken(settings, LENGTH, DATA[:250_000], stall=True)
    assert arrived == DATA[:250_000]
    assert isinstance(error, NetworkError)
    assert (error.transient, error.gained) == (True, 250_000)
    assert "nothing arrived" in str(error)


async def test_an_aiohttp_that_keeps_the_rest_of_a_broken_body_costs_these_bytes_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refuse(content: aiohttp.StreamReader, error: BaseException | None, *cause: BaseException) -> None:
        if error is None:
            raise TypeError
        set_exception(content, error, *cause)

    set_exception = aiohttp.StreamReader.set_exception
    monkeypatch.setattr(aiohttp.StreamReader, "set_exception", refuse)
    arrived, error = await broken(RegistrySettings(buffered=False), LENGTH, DATA[:1000])
    assert arrived == b""
    assert isinstance(error, NetworkError)
    assert error.gained == 0


async def test_a_reset_is_a_break(settings: RegistrySettings) -> None:
    # The reset loses the bytes that the system had not handed to us yet, so only a part may arrive.
    arrived, error = await broken(settings, LENGTH, DATA[:250_000], reset=True)
    assert DATA.startswith(arrived)
    assert isinstance(error, NetworkError)
    assert (error.transient, error.gained) == (True, len(arrived))


async def test_the_stream_holds_no_more_than_its_bound(settings: RegistrySettings) -> None:
    """A consumer that takes nothing makes the server wait."""
    size = 64 << 20
    written = 0

    async def flood(request: web.Request) -> web.StreamResponse:
        nonlocal written
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        while written < size:
            await response.write(bytes(1 << 16))
            written += 1 << 16
        return response

    blob = describe(b"", size=size)
    async with (
        answering(blob_server(flood)) as registry,
        RegistryClient(settings) as client,
        client.open_blob(Reference.parse(f"{registry.address}/app"), blob) as body,
    ):
        first = await anext(body.pieces())
        before = -1
        while before != written:  # until neither side of the loop has anything left to do
            before = written
            for _ in range(100):
                await asyncio.sleep(0)
        pieces = body.pieces()
        second = await anext(pieces)
        assert max(len(first), len(second)) <= LARGEST_PIECE
        assert written < size


async def test_leaving_early_closes_the_connection_and_frees_its_place(settings: RegistrySettings) -> None:
    async with answering(blob_server(serve_blob)) as registry, RegistryClient(settings, connections=1) as client:
        image = Reference.parse(f"{registry.address}/app")
        for _ in range(3):
            async with client.open_blob(image, BLOB) as body:
                assert len(await anext(body.pieces())) > 0
        async with client.open_blob(image, BLOB) as body:
            assert b"".join([bytes(piece) async for piece in body.pieces()]) == DATA


async def test_a_cancelled_read_loses_nothing(settings: RegistrySettings) -> None:
    release = asyncio.Event()

    async def in_two(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:1000])
        await release.wait()
        await response.write(DATA[1000:])
        return response

    async with (
        answering(blob_server(in_two)) as registry,
        RegistryClient(settings) as client,
        client.open_blob(Reference.parse(f"{registry.address}/app"), BLOB) as body,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(body.pieces())
        release.set()
        assert b"".join([bytes(piece) async for piece in body.pieces()]) == DATA


def cut(after: int) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:after])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def opened(registry: FakeRegistry, client: RegistryClient) -> AbstractAsyncContextManager[BlobBody]:
    return client.open_blob(Reference.parse(f"{registry.address}/app"), BLOB)


def test_a_long_body_is_taken_over_and_the_connection_used_again(play: Play) -> None:
    ports = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return await serve_blob(request)

    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        ports.clear()
        for _ in range(5):
            async with opened(registry, client) as body:
                assert isinstance(body._pieces, BufferedBody)
                assert await read_all(body) == DATA
        assert len(ports) == 1

    play(answer, scene)


@pytest.mark.parametrize("after", [700_000, 3_000_000, len(DATA) - 1])
def test_a_connection_that_ends_gives_all_that_came(play: Play, after: int) -> None:
    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        arrived = b""
        with pytest.raises(NetworkError, match=f"ended after {after} of {len(DATA)} bytes") as caught:
            async with opened(registry, client) as body:
                async for piece in body.pieces():
                    arrived += piece
        assert arrived == DATA[:after]
        assert caught.value.gained == after

    play(cut(after), scene)


def test_a_body_that_stalls_gives_all_that_came(play: Play) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:700_000])
        await asyncio.sleep(60)
        return response

    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        arrived = b""
        with pytest.raises(NetworkError, match="nothing arrived for too long") as caught:
            async with opened(registry, client) as body:
                async for piece in body.pieces():
                    arrived += piece
        assert arrived == DATA[:700_000]
        assert caught.value.gained == 700_000

    play(answer, scene)


def test_a_slow_body_is_no_stall_and_neither_is_a_slow_reader(play: Play) -> None:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "600000"})
        await response.prepare(request)
        for start in range(0, 600_000, 100_000):
            await response.write(DATA[start : start + 100_000])
            await asyncio.sleep(0.12)  # all of it takes longer than the time limit, no pause does
        return response

    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        blob = describe(DATA[:600_000])
        async with client.open_blob(Reference.parse(f"{registry.address}/app"), blob) as body:
            assert await read_all(body) == DATA[:600_000]

    async def reader(registry: FakeRegistry, client: RegistryClient) -> None:
        async with opened(registry, client) as body:
            first = bytes(await anext(body.pieces()))
            await asyncio.sleep(0.4)
            assert first + await read_all(body) == DATA

    play(answer, scene)
    play(serve_blob, reader)


def test_a_body_left_in_the_middle_disturbs_no_other(play: Play) -> None:
    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        async def leave() -> None:
            for _ in range(5):
                async with opened(registry, client) as body:
                    await anext(body.pieces())
                    await anext(body.pieces())

        async def keep() -> None:
            for _ in range(5):
                async with opened(registry, client) as body:
                    assert await read_all(body) == DATA

        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
            group.create_task(keep())

    play(serve_blob, scene)


def test_a_cancelled_reader_frees_the_connection(play: Play) -> None:
    sent: list[asyncio.Event] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:1_000_000])
        sent[-1].set()
        await asyncio.sleep(60)
        return response

    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        async def fetch() -> None:
            async with opened(registry, client) as body:
                await read_all(body)

        for _ in range(4):  # there are only two connections
            sent.append(asyncio.Event())
            task = asyncio.create_task(fetch())
            await sent[-1].wait()
            for _ in range(20):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

    play(answer, scene)


def test_a_late_reader_of_the_same_connection_disturbs_no_other(play: Play) -> None:
    """A short body may have come serve_blob, and its connection be another's already, before it is read."""
    short = describe(DATA[:100_000])

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=DATA[:100_000] if request.path.endswith(short.digest.hex) else DATA)

    async def scene(registry: FakeRegistry, client: RegistryClient) -> None:
        image = Reference.parse(f"{registry.address}/app")
        async with client.open_blob(image, short) as late:
            while not late._pieces._content.is_eof():  # type: ignore[attr-defined]  # noqa: ASYNC110
                await asyncio.sleep(0)
            async with opened(registry, client) as body:
                intake = body._pieces
                assert isinstance(intake, BufferedBody)
                pieces = body.pieces()
                got = [bytes(await anext(pieces))]
                while not intake._paused:  # noqa: ASYNC110
                    await asyncio.sleep(0)
                assert await read_all(late) == DATA[:100_000]
                await asyncio.sleep(0.02)
                got += [bytes(piece) async for piece in pieces]
                assert b"".join(got) == DATA

    play(answer, scene)
