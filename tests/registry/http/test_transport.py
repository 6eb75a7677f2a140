from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme
from aiohttp import web
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.http.request_body import StreamedBody
from hangar_async.registry.http.transport import TlsContexts, Transport
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


async def test_a_ca_of_certs_d_is_trusted(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", trusting(registry.address)) == MANIFEST


async def test_a_ca_of_another_host_is_not_trusted(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        with pytest.raises(NetworkError) as caught:
            await pull(f"{registry.address}/app", trusting("other.test"))
    assert not registry.requests
    assert not caught.value.transient
    assert "certificate" in str(caught.value)
    assert "--tls-verify=false" in caught.value.advice
    assert "certs.d" in caught.value.advice


@pytest.mark.parametrize(
    ("shift", "words"), [(timedelta(days=-400), "has expired"), (timedelta(days=400), "is not valid yet")]
)
async def test_a_certificate_of_another_time_names_the_clock(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings], shift: timedelta, words: str
) -> None:
    now = datetime.now(UTC) + shift
    leaf = authority.issue_cert("127.0.0.1", not_before=now - timedelta(days=30), not_after=now + timedelta(days=30))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    leaf.configure_cert(tls)
    async with answering(serve_manifest, tls=tls) as registry:
        with pytest.raises(
            NetworkError, match=f"its TLS certificate {words}, by the clock of this machine: 20"
        ) as caught:
            await pull(f"{registry.address}/app", trusting(registry.address))
    assert not caught.value.transient
    assert "set the clock" in caught.value.advice
    assert "certs.d" not in caught.value.advice


async def test_the_ca_that_the_environment_names_is_trusted(
    server_tls: ssl.SSLContext, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    authority.cert_pem.write_to_path(tmp_path / "bundle.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "bundle.pem"))
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", RegistrySettings(certificates=())) == MANIFEST


async def test_verification_can_be_turned_off(server_tls: ssl.SSLContext) -> None:
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", RegistrySettings(tls_verify=False)) == MANIFEST


async def test_a_certificate_for_another_name_is_refused(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings]
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("elsewhere.test").configure_cert(context)
    async with answering(serve_manifest, tls=context) as registry:
        with pytest.raises(NetworkError, match="certificate") as caught:
            await pull(f"{registry.address}/app", trusting(registry.address))
    assert not caught.value.transient


async def test_a_client_certificate_is_shown_to_its_host(
    authority: trustme.CA, trusting: Callable[..., RegistrySettings], tmp_path: Path
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with answering(serve_manifest, tls=context) as registry:
        settings = trusting(registry.address)
        with pytest.raises(NetworkError):
            await pull(f"{registry.address}/app", settings)
        mine = authority.issue_cert("me@example.test")
        folder = tmp_path / "certs.d" / registry.address
        mine.private_key_pem.write_to_path(folder / "client.key")
        for blob in mine.cert_chain_pems:
            blob.write_to_path(folder / "client.cert", append=True)
        assert await pull(f"{registry.address}/app", settings) == MANIFEST


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("client.cert", "x", "client.key is not beside it"),
        ("client.key", "x", "client.cert is not beside it"),
        ("ca.crt", "no certificate", "cannot be read as PEM"),
        ("ca.crt", "", "cannot be read as PEM"),
    ],
)
async def test_files_that_cannot_be_used_are_named(tmp_path: Path, name: str, content: str, why: str) -> None:
    folder = tmp_path / "reg.test:5000"
    folder.mkdir()
    (folder / name).write_text(content)
    contexts = TlsContexts(RegistrySettings(certificates=(tmp_path,)))
    with pytest.raises(NetworkError, match=why) as caught:
        await contexts.context(URL("https://reg.test:5000/v2/"))
    assert str(folder / name) in str(caught.value)
    assert not caught.value.transient


async def test_a_folder_that_cannot_be_entered_is_named(tmp_path: Path) -> None:
    (tmp_path / "reg.test").symlink_to("reg.test")
    with pytest.raises(NetworkError, match=r"reg\.test for reg\.test:443: Too many levels of symbolic links"):
        await TlsContexts(RegistrySettings(certificates=(tmp_path,))).context(URL("https://reg.test/"))


async def test_a_key_with_a_password_is_refused_without_asking_for_it(authority: trustme.CA, tmp_path: Path) -> None:
    folder = tmp_path / "reg.test"
    folder.mkdir()
    mine = authority.issue_cert("me@example.test")
    mine.cert_chain_pems[0].write_to_path(folder / "client.cert")
    (folder / "client.key").write_text(
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n"
        "-----END RSA PRIVATE KEY-----\n"
    )
    with pytest.raises(NetworkError, match=r"client\.cert"):
        await TlsContexts(RegistrySettings(certificates=(tmp_path,))).context(URL("https://reg.test/"))


async def test_hosts_without_files_share_one_context(authority: trustme.CA, tmp_path: Path) -> None:
    for name in ("own.test", "port.test:443"):
        (tmp_path / name).mkdir()
        authority.cert_pem.write_to_path(tmp_path / name / "ca.crt")
    contexts = TlsContexts(RegistrySettings(certificates=(tmp_path, tmp_path / "missing")))
    plain = await contexts.context(URL("https://a.test/"))
    assert await contexts.context(URL("https://b.test:8443/")) is plain
    assert await contexts.context(URL("https://own.test/")) is await contexts.context(URL("https://own.test:443/x"))
    assert await contexts.context(URL("https://own.test/")) is not plain
    assert await contexts.context(URL("https://port.test/")) is not plain
    assert await contexts.context(URL("https://own.test:5000/")) is plain


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
            async with transport.send(URL(f"http://{host}/x"), host, headers={}, method=method, body=b"x" * 100_000):
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
        async with transport.send(url, server.address, **settings) as response:  # type: ignore[arg-type]
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


async def test_files_of_certs_d_have_bounds(tmp_path: Path) -> None:
    """A pipe would be read for ever."""
    for number, name in enumerate(("pipe.crt", "large.crt", "file")):
        folder = tmp_path / str(number) / "a.io"
        folder.mkdir(parents=True)
        if name == "pipe.crt":
            os.mkfifo(folder / name)
        else:
            for copy in range(1 if name == "large.crt" else 1_001):
                with (folder / (f"{name}{copy or ''}")).open("wb") as file:
                    file.truncate((4 << 20) + 1 if copy == 0 else 0)
    problems = ("no regular file", "more than 4,194,304 bytes", "more than 1,000 files")
    for number, problem in enumerate(problems):
        contexts = TlsContexts(RegistrySettings(certificates=(tmp_path / str(number),)))
        with pytest.raises(NetworkError, match=problem):
            await contexts.context(URL("https://a.io/"))


@pytest.mark.parametrize("turns", range(4))
async def test_a_cancellation_while_it_is_closed_leaves_no_session_open(turns: int) -> None:
    async with answering(serve_manifest) as registry:
        transport, done, answered = Transport(RegistrySettings(), 2), asyncio.Event(), asyncio.Event()

        async def use() -> None:
            async with transport:
                url = URL(f"http://{registry.address}/")
                async with transport.send(url, "host", headers={}, internal=True) as response:
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
