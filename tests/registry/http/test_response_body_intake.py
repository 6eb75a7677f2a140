"""Bodies taken off their transports: on both event loops, with and without TLS, whole, broken and left."""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

import pytest
import uvloop
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.oci.reference import Reference
from hangar_async.registry.blobs import BlobBody
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.response_body import BufferedBody
from tests.registry.rig import Served, describe, served

DATA = random.Random(2).randbytes(5_000_000)
BLOB = describe(DATA)
Scene = Callable[[Served, RegistryClient], Awaitable[None]]
Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
Play = Callable[[Answer, Scene], None]


@pytest.fixture(params=["plain", "tls"])
def play(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]) -> Play:
    """Run a scene on asyncio's own loop and on uvloop, before a server that answers for all blobs."""
    tls = server_tls if request.param == "tls" else None

    async def run(answer: Answer, scene: Scene) -> None:
        async def handle(asked: web.Request) -> web.StreamResponse:
            return web.Response() if asked.path == "/v2/" else await answer(asked)

        async with served(handle, tls=tls) as registry:
            settings = trusting(registry.host, stall_timeout=0.3)
            async with RegistryClient(settings, connections=2) as client:
                await scene(registry, client)

    def both(answer: Answer, scene: Scene) -> None:
        for factory in (None, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(run(answer, scene))

    return both


async def whole(request: web.Request) -> web.StreamResponse:
    return web.Response(body=DATA)


def cut(after: int) -> Answer:
    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:after])
        assert request.transport is not None
        request.transport.close()
        return response

    return answer


def opened(registry: Served, client: RegistryClient) -> AbstractAsyncContextManager[BlobBody]:
    return client.open_blob(Reference.parse(f"{registry.host}/app"), BLOB)


async def read(body: BlobBody) -> bytes:
    return b"".join([bytes(piece) async for piece in body.pieces()])


def test_a_long_body_is_taken_over_and_the_connection_used_again(play: Play) -> None:
    ports = set()

    async def answer(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername"))
        return await whole(request)

    async def scene(registry: Served, client: RegistryClient) -> None:
        ports.clear()
        for _ in range(5):
            async with opened(registry, client) as body:
                assert isinstance(body._pieces, BufferedBody)
                assert await read(body) == DATA
        assert len(ports) == 1

    play(answer, scene)


@pytest.mark.parametrize("after", [700_000, 3_000_000, len(DATA) - 1])
def test_a_connection_that_ends_gives_all_that_came(play: Play, after: int) -> None:
    async def scene(registry: Served, client: RegistryClient) -> None:
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

    async def scene(registry: Served, client: RegistryClient) -> None:
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

    async def scene(registry: Served, client: RegistryClient) -> None:
        blob = describe(DATA[:600_000])
        async with client.open_blob(Reference.parse(f"{registry.host}/app"), blob) as body:
            assert await read(body) == DATA[:600_000]

    async def reader(registry: Served, client: RegistryClient) -> None:
        async with opened(registry, client) as body:
            first = bytes(await anext(body.pieces()))
            await asyncio.sleep(0.4)
            assert first + await read(body) == DATA

    play(answer, scene)
    play(whole, reader)


def test_what_is_left_in_the_middle_disturbs_nobody_else(play: Play) -> None:
    async def scene(registry: Served, client: RegistryClient) -> None:
        async def leave() -> None:
            for _ in range(5):
                async with opened(registry, client) as body:
                    await anext(body.pieces())
                    await anext(body.pieces())

        async def keep() -> None:
            for _ in range(5):
                async with opened(registry, client) as body:
                    assert await read(body) == DATA

        async with asyncio.TaskGroup() as group:
            group.create_task(leave())
            group.create_task(keep())

    play(whole, scene)


def test_a_cancelled_reader_frees_the_connection(play: Play) -> None:
    sent: list[asyncio.Event] = []

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": str(len(DATA))})
        await response.prepare(request)
        await response.write(DATA[:1_000_000])
        sent[-1].set()
        await asyncio.sleep(60)
        return response

    async def scene(registry: Served, client: RegistryClient) -> None:
        async def fetch() -> None:
            async with opened(registry, client) as body:
                await read(body)

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


def test_who_reads_late_on_the_same_connection_does_not_disturb(play: Play) -> None:
    """A short body may have come whole, and its connection be another's already, before it is read."""
    short = describe(DATA[:100_000])

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=DATA[:100_000] if request.path.endswith(short.digest.hex) else DATA)

    async def scene(registry: Served, client: RegistryClient) -> None:
        image = Reference.parse(f"{registry.host}/app")
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
                assert await read(late) == DATA[:100_000]
                await asyncio.sleep(0.02)
                got += [bytes(piece) async for piece in pieces]
                assert b"".join(got) == DATA

    play(answer, scene)
