from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError
from tests.registry.rig import (
    MANIFEST,
    Proxy,
    pull,
    raw_server,
    request_head,
    serve_manifest,
    served,
)


async def test_https_goes_through_a_tunnel(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with (
        served(serve_manifest, tls=server_tls) as registry,
        Proxy({"registry.test:443": registry.host}).running() as proxy,
    ):
        with_login = proxy.url.replace("http://", "http://user:word@")
        settings = replace(trusting("registry.test"), proxies=Proxies(https=with_login))
        assert await pull("registry.test/app", settings) == MANIFEST
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert {headers["proxy-authorization"] for headers in proxy.headers} == {"Basic dXNlcjp3b3Jk"}
    assert all("Proxy-Authorization" not in request.headers for request in registry.requests)


async def test_http_goes_by_absolute_addresses() -> None:
    async with served(serve_manifest) as registry, Proxy({"registry.test:80": registry.host}).running() as proxy:
        settings = RegistrySettings(tls_verify=False, proxies=Proxies(proxy.url, proxy.url))
        assert await pull("registry.test/app", settings) == MANIFEST
    assert "GET http://registry.test/v2/app/manifests/latest HTTP/1.1" in proxy.lines


async def test_loopback_is_asked_without_a_proxy() -> None:
    async with served(serve_manifest) as registry, Proxy({}).running() as proxy:
        assert await pull(f"{registry.host}/app", RegistrySettings(proxies=Proxies(proxy.url, proxy.url))) == MANIFEST
    assert not proxy.lines


async def test_the_environment_is_not_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    async with served(serve_manifest) as registry:
        assert await pull(f"{registry.host}/app", RegistrySettings()) == MANIFEST


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

    async with served(sticky) as registry:
        await pull(f"{registry.host}/app", RegistrySettings())
    assert all("Cookie" not in request.headers for request in registry.requests)
