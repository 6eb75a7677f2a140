from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import Awaitable, Callable

import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, HangarError, NetworkError, NotFound, RegistryError
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.response_body import LARGEST_PIECE, SMALLEST_PIECE, BufferedBody, StreamBody
from tests.registry.rig import Handler, Served, describe, raw_server, request_head, served

DATA = random.Random(1).randbytes(3_000_000)
BLOB = describe(DATA)
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@pytest.fixture(params=[True, False], ids=["buffered", "streamed"])
def settings(request: pytest.FixtureRequest) -> RegistrySettings:
    """Both ways to receive a body."""
    return RegistrySettings(buffered=request.param, stall_timeout=0.2)


def answering(answer: Answer) -> Handler:
    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response() if request.path == "/v2/" else await answer(request)

    return handle


async def whole(request: web.Request) -> web.Response:
    return web.Response(body=DATA)


async def fetch(
    settings: RegistrySettings, answer: Answer, blob: Descriptor = BLOB, start: int = 0
) -> tuple[int, list[bytes], Served]:
    async with (
        served(answering(answer)) as registry,
        RegistryClient(settings) as client,
        client.open_blob(Reference.parse(f"{registry.host}/team/app"), blob, start) as body,
    ):
        return body.start, [bytes(piece) async for piece in body.pieces()], registry


async def test_a_blob_comes_whole_in_pieces_of_measure(settings: RegistrySettings) -> None:
    start, pieces, registry = await fetch(settings, whole)
    assert (start, b"".join(pieces)) == (0, DATA)
    assert all(SMALLEST_PIECE <= len(piece) <= LARGEST_PIECE for piece in pieces[:-1])
    [request] = registry.asked("blobs")
    assert request.path == f"/v2/team/app/blobs/{BLOB.digest}"
    assert request.headers["Accept-Encoding"] == "identity"
    assert "Range" not in request.headers


async def test_an_empty_blob_has_no_pieces(settings: RegistrySettings) -> None:
    async def empty(request: web.Request) -> web.Response:
        return web.Response()

    assert (await fetch(settings, empty, describe(b"")))[:2] == (0, [])


async def test_a_body_without_length_is_taken(settings: RegistrySettings) -> None:
    async def chunked(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        response.enable_chunked_encoding()
        await response.prepare(request)
        for at in range(0, len(DATA), 10_007):
            await response.write(DATA[at : at + 10_007])
        return response

    assert b"".join((await fetch(settings, chunked))[1]) == DATA


async def test_a_range_is_asked_for_and_given(settings: RegistrySettings) -> None:
    async def partial(request: web.Request) -> web.Response:
        first = int(request.headers["Range"].removeprefix("bytes=").removesuffix("-"))
        field = f"bytes {first}-{len(DATA) - 1}/{len(DATA)}"
        return web.Response(status=206, body=DATA[first:], headers={"Content-Range": field})

    start, pieces, registry = await fetch(settings, partial, start=1_234_567)
    assert (start, b"".join(pieces)) == (1_234_567, DATA[1_234_567:])
    assert [request.headers["Range"] for request in registry.asked("blobs")] == ["bytes=1234567-"]


async def test_a_range_that_is_passed_over_gives_the_whole(settings: RegistrySettings) -> None:
    start, pieces, registry = await fetch(settings, whole, start=1000)
    assert (start, b"".join(pieces)) == (0, DATA)
    assert len(registry.asked("blobs")) == 1


@pytest.mark.parametrize(
    ("status", "content_range"),
    [
        (416, f"bytes */{len(DATA)}"),
        (206, None),
        (206, f"bytes 999-{len(DATA) - 1}/{len(DATA)}"),
        (206, f"bytes 1000-{len(DATA) - 1}/{len(DATA) + 1}"),
        (206, f"bytes 1000-{len(DATA) - 2}/{len(DATA)}"),
        (206, "nonsense"),
    ],
)
async def test_a_range_that_went_wrong_is_asked_for_again_whole(
    settings: RegistrySettings, status: int, content_range: str | None
) -> None:
    async def mangled(request: web.Request) -> web.Response:
        if "Range" not in request.headers:
            return web.Response(body=DATA)
        fields = {"Content-Range": content_range} if content_range else {}
        return web.Response(status=status, body=DATA[1000:] if status == 206 else b"", headers=fields)

    start, pieces, registry = await fetch(settings, mangled, start=1000)
    assert (start, b"".join(pieces)) == (0, DATA)
    assert ["Range" in request.headers for request in registry.asked("blobs")] == [True, False]


async def test_a_part_that_nobody_asked_for_is_refused(settings: RegistrySettings) -> None:
    async def partial(request: web.Request) -> web.Response:
        return web.Response(status=206, body=DATA, headers={"Content-Range": f"bytes 0-{len(DATA) - 1}/{len(DATA)}"})

    with pytest.raises(RegistryError) as caught:
        await fetch(settings, partial)
    assert caught.value.status == 206


async def test_a_blob_that_is_not_there(settings: RegistrySettings) -> None:
    async def missing(request: web.Request) -> web.Response:
        raise web.HTTPNotFound

    for start in (0, 5):
        with pytest.raises(NotFound, match=str(BLOB.digest)):
            await fetch(settings, missing, start=start)


@pytest.mark.parametrize("size", [len(DATA) - 1, len(DATA) + 1])
async def test_a_length_other_than_declared_is_refused_at_once(settings: RegistrySettings, size: int) -> None:
    with pytest.raises(DigestMismatch, match=f"not the declared {size}"):
        await fetch(settings, whole, describe(DATA, size=size))


async def test_more_bytes_than_declared_are_refused(settings: RegistrySettings) -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(DATA)

    with pytest.raises(DigestMismatch, match="larger than the declared"):
        await fetch(settings, endless)


async def test_an_encoding_that_was_not_asked_for_is_refused(settings: RegistrySettings) -> None:
    async def encoded(request: web.Request) -> web.Response:
        return web.Response(body=DATA, headers={"Content-Encoding": "gzip"})

    with pytest.raises(ContentError, match="gzip"):
        await fetch(settings, encoded)


async def broken(
    settings: RegistrySettings, head: bytes, sent: bytes, *, reset: bool = False, stall: bool = False
) -> tuple[bytes, HangarError]:
    """Fetch from a server that says `head`, sends some bytes, and goes; return what arrived, and the error.

    The client looks at the body only when the connection is over, and all that arrived lies in the stream; so it has to
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
async def test_a_body_without_length_that_ends_early(settings: RegistrySettings, sent: int) -> None:
    arrived, error = await broken(settings, b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n", DATA[:sent])
    assert arrived == DATA[:sent]
    assert isinstance(error, NetworkError)
    assert (error.transient, error.gained) == (True, sent)
    assert f"{sent} of {len(DATA)} bytes" in str(error)


async def test_a_chunked_body_that_breaks(settings: RegistrySettings) -> None:
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


async def test_a_reset_is_a_break(settings: RegistrySettings) -> None:
    # What the system had not handed to us when the reset came is lost, so only a part may arrive.
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
        served(answering(flood)) as registry,
        RegistryClient(settings) as client,
        client.open_blob(Reference.parse(f"{registry.host}/app"), blob) as body,
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
    async with served(answering(whole)) as registry, RegistryClient(settings, connections=1) as client:
        image = Reference.parse(f"{registry.host}/app")
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
        served(answering(in_two)) as registry,
        RegistryClient(settings) as client,
        client.open_blob(Reference.parse(f"{registry.host}/app"), BLOB) as body,
    ):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await anext(body.pieces())
        release.set()
        assert b"".join([bytes(piece) async for piece in body.pieces()]) == DATA
