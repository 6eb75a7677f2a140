from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, NetworkError, NotFound
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from tests.registry.rig import MANIFEST, Proxy, describe, raw_server, request_head, served

DATA = b"foreign" * 1000
BLOB = describe(DATA)


async def answer(request: web.Request) -> web.Response:
    return web.Response(body=MANIFEST)


async def get(name: str, settings: RegistrySettings) -> bytes:
    async with RegistryClient(settings) as client:
        return (await client.get_manifest(Reference.parse(name))).raw


async def test_https_goes_through_a_tunnel(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with (
        served(answer, tls=server_tls) as registry,
        Proxy({"registry.test:443": registry.host}).running() as proxy,
    ):
        with_login = proxy.url.replace("http://", "http://user:word@")
        settings = replace(trusting("registry.test"), proxies=Proxies(https=with_login))
        assert await get("registry.test/app", settings) == MANIFEST
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert {headers["proxy-authorization"] for headers in proxy.headers} == {"Basic dXNlcjp3b3Jk"}
    assert all("Proxy-Authorization" not in request.headers for request in registry.requests)


async def test_http_goes_by_absolute_addresses() -> None:
    async with served(answer) as registry, Proxy({"registry.test:80": registry.host}).running() as proxy:
        settings = RegistrySettings(tls_verify=False, proxies=Proxies(proxy.url, proxy.url))
        assert await get("registry.test/app", settings) == MANIFEST
    assert "GET http://registry.test/v2/app/manifests/latest HTTP/1.1" in proxy.lines


async def test_this_machine_is_asked_directly() -> None:
    async with served(answer) as registry, Proxy({}).running() as proxy:
        assert await get(f"{registry.host}/app", RegistrySettings(proxies=Proxies(proxy.url, proxy.url))) == MANIFEST
    assert not proxy.lines


async def test_the_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with served(answer) as registry:
        assert await get(f"{registry.host}/app", RegistrySettings()) == MANIFEST


async def test_a_proxy_that_refuses(trusting: Callable[..., RegistrySettings]) -> None:
    async with Proxy({}).running() as proxy:
        settings = RegistrySettings(proxies=Proxies(https=proxy.url.replace("http://", "http://user:word@")))
        with pytest.raises(NetworkError, match="proxy answered 403") as caught:
            await get("registry.test/app", settings)
    assert not caught.value.transient
    assert "word" not in str(caught.value)


async def test_a_proxy_that_is_not_there() -> None:
    async with Proxy({}).running() as proxy:
        pass
    with pytest.raises(NetworkError, match="proxy cannot be reached") as caught:
        await get("registry.test/app", RegistrySettings(proxies=Proxies(https=proxy.url)))
    assert caught.value.transient


async def test_a_proxy_that_says_nothing_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        await asyncio.Event().wait()

    async with raw_server(silent) as host:
        settings = RegistrySettings(connect_timeout=0.1, proxies=Proxies(https=f"http://{host}"))
        with pytest.raises(NetworkError, match="in time") as caught:
            await get("registry.test/app", settings)
    assert caught.value.transient


async def test_a_server_that_never_ends_its_handshake_is_given_up() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with raw_server(silent) as host:
        with pytest.raises(NetworkError):
            await get(f"{host}/app", RegistrySettings(connect_timeout=0.1, stall_timeout=0.1))


async def test_cookies_are_not_kept() -> None:
    async def sticky(request: web.Request) -> web.Response:
        response = web.Response(body=MANIFEST)
        response.set_cookie("session", "secret")
        return response

    async with served(sticky) as registry:
        await get(f"{registry.host}/app", RegistrySettings())
    assert all("Cookie" not in request.headers for request in registry.requests)


async def foreign(url: str, known: str | None = None, start: int = 0) -> bytes:
    """Fetch a foreign blob with a user name at hand, after asking the registry `known`, if any."""
    host = url.partition("://")[2].partition("/")[0]
    settings = RegistrySettings(username="me", password="secret")
    async with RegistryClient(settings, username_for=host) as client:
        if known:
            await client.get_manifest(Reference.parse(f"{known}/app"))
        async with client.open_foreign(url, BLOB, start) as body:
            return b"".join([bytes(piece) async for piece in body.pieces()])


async def test_a_foreign_blob_comes_without_credentials() -> None:
    async def store(request: web.Request) -> web.Response:
        if request.path == "/layer":
            return web.Response(body=DATA, headers={"WWW-Authenticate": 'Basic realm="x"'})
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="x"'})

    async with served(answer) as registry, served(store) as elsewhere:
        assert await foreign(f"http://{elsewhere.host}/layer", registry.host) == DATA
        assert await foreign(f"http://{elsewhere.host}/layer", registry.host, start=7) == DATA
        with pytest.raises(Exception, match="denies access"):
            await foreign(f"http://{elsewhere.host}/other", registry.host)
    assert not elsewhere.secrets()


async def test_a_foreign_blob_on_this_machine_is_not_for_images_from_elsewhere() -> None:
    async with served(answer) as elsewhere:
        with pytest.raises(NetworkError, match="this machine") as caught:
            await foreign(f"http://{elsewhere.host}/layer")
    assert not elsewhere.requests
    assert not caught.value.transient


@pytest.mark.parametrize(
    "url",
    ["ftp://a.test/x", "file:///etc/passwd", "/x", "", "https://u:p@a.test/x", "https://a.test/ x", "http://a:0x1/"],
)
async def test_a_foreign_address_that_is_not_asked(url: str) -> None:
    with pytest.raises(NetworkError) as caught:
        await foreign(url)
    assert not caught.value.transient


async def test_a_foreign_blob_of_another_size_or_missing() -> None:
    async def store(request: web.Request) -> web.Response:
        if request.path == "/short":
            return web.Response(body=DATA[1:])
        if request.path == "/packed":
            return web.Response(body=DATA, headers={"Content-Encoding": "gzip"})
        return web.Response(status=404)

    async with served(answer) as registry, served(store) as elsewhere:
        for path, error in (("short", DigestMismatch), ("packed", ContentError), ("gone", NotFound)):
            with pytest.raises(error):
                await foreign(f"http://{elsewhere.host}/{path}", registry.host)
