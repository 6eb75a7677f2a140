from __future__ import annotations

import asyncio
import logging
import re
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
from aiohttp import web
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.http.request_body import StreamedBody
from hangar_async.registry.http.transport import Transport
from tests.fakes.registry import answering
from tests.registry.rig import MANIFEST, Proxy, pull, raw_server, request_head, serve_manifest


async def test_https_goes_through_a_tunnel(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with (
        answering(serve_manifest, tls=server_tls) as registry,
        Proxy({"registry.test:443": registry.address}).running() as proxy,
    ):
        with_login = proxy.url.replace("http://", "http://user:word@")
        settings = replace(trusting("registry.test"), proxies=Proxies(https=with_login))
        assert await pull("registry.test/app", settings) == MANIFEST
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert {headers["proxy-authorization"] for headers in proxy.headers} == {"Basic dXNlcjp3b3Jk"}
    assert all("Proxy-Authorization" not in request.headers for request in registry.requests)


async def test_http_goes_by_absolute_addresses() -> None:
    async with answering(serve_manifest) as registry, Proxy({"registry.test:80": registry.address}).running() as proxy:
        settings = RegistrySettings(tls_verify=False, proxies=Proxies(proxy.url, proxy.url))
        assert await pull("registry.test/app", settings) == MANIFEST
    assert "GET http://registry.test/v2/app/manifests/latest HTTP/1.1" in proxy.lines


async def test_loopback_is_asked_without_a_proxy() -> None:
    async with answering(serve_manifest) as registry, Proxy({}).running() as proxy:
        assert (
            await pull(f"{registry.address}/app", RegistrySettings(proxies=Proxies(proxy.url, proxy.url))) == MANIFEST
        )
    assert not proxy.lines


async def test_the_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with answering(serve_manifest) as registry:
        assert await pull(f"{registry.address}/app", RegistrySettings()) == MANIFEST


async def test_a_proxy_that_refuses_is_named(trusting: Callable[..., RegistrySettings]) -> None:
    async with Proxy({}).running() as proxy:
        settings = RegistrySettings(proxies=Proxies(https=proxy.url.replace("http://", "http://user:word@")))
        with pytest.raises(NetworkError, match="proxy answered 403") as caught:
            await pull("registry.test/app", settings)
    assert not caught.value.transient
    assert "word" not in str(caught.value)


async def test_an_unreachable_proxy_is_named() -> None:
    async with Proxy({}).running() as proxy:
        pass
    with pytest.raises(NetworkError, match="proxy cannot be reached") as caught:
        await pull("registry.test/app", RegistrySettings(proxies=Proxies(https=proxy.url)))
    assert caught.value.transient


async def test_a_silent_proxy_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await asyncio.Event().wait()

    async with raw_server(silent) as host:
        settings = RegistrySettings(connect_timeout=0.1, proxies=Proxies(https=f"http://{host}"))
        with pytest.raises(NetworkError, match="in time") as caught:
            await pull("registry.test/app", settings)
    assert caught.value.transient


async def test_a_server_that_never_ends_its_handshake_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_server(silent) as host:
        with pytest.raises(NetworkError):
            await pull(f"{host}/app", RegistrySettings(connect_timeout=0.1, stall_timeout=0.1))


async def test_cookies_are_not_kept() -> None:
    async def sticky(request: web.Request) -> web.Response:
        response = web.Response(body=MANIFEST)
        response.set_cookie("session", "secret")
        return response

    async with answering(sticky) as registry:
        await pull(f"{registry.address}/app", RegistrySettings())
    assert all("Cookie" not in request.headers for request in registry.requests)


SHORT_LIMITS = RegistrySettings(connect_timeout=0.1, stall_timeout=0.1, commit_timeout=0.1, answer_timeout=0.1)


async def _give_slowly(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answer: bytes, path: str) -> None:
    """Answer the request for /v2/, and any other one by a few bytes at a time, without an end."""
    line, headers = await request_head(reader)
    await reader.readexactly(int(headers.get("content-length", 0)))
    if line.split()[1] != path:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        return
    head, _, rest = answer.partition(b"|")
    writer.write(head)
    while True:
        writer.write(rest)
        await writer.drain()
        await asyncio.sleep(0.01)


@pytest.mark.parametrize("answer", [
    b"|HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: |y",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n{| ",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n|1\r\n \r\n",
])  # fmt: skip
async def test_an_answer_that_comes_a_little_at_a_time_is_given_up(answer: bytes) -> None:
    path = "/v2/app/manifests/latest"
    async with raw_server(lambda reader, writer: _give_slowly(reader, writer, answer, path)) as host:
        with pytest.raises(NetworkError, match=r"began, and was not complete after 0 s") as caught:
            await pull(f"{host}/app", SHORT_LIMITS)
    assert caught.value.transient
    assert caught.value.host == host


@pytest.mark.parametrize("method", ["POST", "PUT"])
async def test_the_answer_to_a_body_has_its_time_from_the_end_of_the_body(method: str) -> None:
    answer = b"|HTTP/1.1 102 Processing\r\n\r\n"
    async with (
        raw_server(lambda reader, writer: _give_slowly(reader, writer, answer, "/x")) as host,
        Transport(SHORT_LIMITS, 1) as transport,
    ):
        transport.named.add(host)
        with pytest.raises(NetworkError, match="its answer began"):
            async with await transport.send(
                URL(f"http://{host}/x"), host, headers={}, method=method, body=b"x" * 100_000
            ):
                pytest.fail("it has no head")


async def test_a_body_may_take_longer_than_an_answer() -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(10):
            await asyncio.sleep(0.05)
            yield b"x"

    async def take(request: web.Request) -> web.Response:
        return web.Response(body=await request.read())

    async with answering(take) as server, Transport(SHORT_LIMITS, 1) as transport:
        transport.named.add(server.address)
        body = StreamedBody(10, "it", pieces)
        url = URL(f"http://{server.address}/x")
        settings = {"headers": {}, "method": "PUT", "body": body}
        async with await transport.send(url, server.address, **settings) as response:  # type: ignore[arg-type]
            assert await response.read("it", 100) == b"x" * 10


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\nLocation: " + b"a" * (33 << 10),
        b"HTTP/1.1 200 OK\r\n" + b"WWW-Authenticate: Basic\r\n" * 200,
        b"HTTP/1.1 200 OK\r\nLink: " + b"<a>;" * (1 << 20),
        b"HTTP/1.1 200 " + b"O" * (1 << 20),
        b"\x00" * (1 << 20),
    ],
    ids=["long-header", "many-headers", "endless-header", "endless-reason", "no-http"],
)
async def test_the_head_of_an_answer_has_bounds(head: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(head + b"\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()

    async with raw_server(talk) as address:
        with pytest.raises(NetworkError):
            await pull(f"{address}/app", RegistrySettings(answer_timeout=20.0))


@pytest.mark.parametrize("end", [b"a" * (33 << 10), b"\0"], ids=["too-long", "no-text"])
async def test_the_error_of_a_head_quotes_no_header(end: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 307 x\r\nLocation: http://storage.test/?signature=secret" + end + b"\r\n\r\n")
        await writer.drain()

    async with raw_server(talk) as address:
        with pytest.raises(NetworkError, match=r"the answer is not HTTP \([^()']+\)") as caught:
            await pull(f"{address}/app", RegistrySettings())
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_while_it_is_closed_leaves_no_session_open(turns: int) -> None:
    async with answering(serve_manifest) as registry:
        transport, done, answered = Transport(RegistrySettings(), 2), asyncio.Event(), asyncio.Event()

        async def use() -> None:
            async with transport:
                url = URL(f"http://{registry.address}/")
                async with await transport.send(url, "host", headers={}, internal=True) as response:
                    await response.drain()
                answered.set()
                await done.wait()

        task = asyncio.create_task(use())
        await answered.wait()
        done.set()
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
    assert transport._session.closed
    assert transport._outside.closed


async def test_requests_are_logged_with_what_came_of_them_and_without_secrets(caplog: pytest.LogCaptureFixture) -> None:
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/v2/app/first":
            return web.Response(status=307, headers={"Location": f"http://{request.host}/second?sig=secret"})
        return web.Response(status=404)

    caplog.set_level(logging.DEBUG, "hangar_async.registry")
    async with answering(answer) as registry, Transport(RegistrySettings(), 2) as transport:
        transport.named.add(registry.address)
        url = URL(f"http://{registry.address}/v2/app/first?token=secret")
        async with await transport.send(url, "h", headers={}, authorization="Bearer secret"):
            pass
        with pytest.raises(NetworkError):
            await transport.send(URL("http://127.0.0.1:1/gone"), "h", headers={}, internal=True)
    lines = [re.sub(", after [0-9]+ ms", "", text) for text in caplog.messages]
    place = f"http://{registry.address}"
    assert lines[:2] == [
        f"GET {place}/v2/app/first?token=...: 307 to {place}/second?sig=...",
        f"GET {place}/second?sig=...: 404",
    ]
    assert lines[2].startswith("GET http://127.0.0.1:1/gone: h: the connection failed (")
    assert "secret" not in caplog.text
