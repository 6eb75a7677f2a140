from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError, NotFound
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from tests.registry.rig import (
    MANIFEST,
    Proxy,
    pull,
    serve_manifest,
    served,
)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_registry_on_this_machine_may_be_plain(name: str) -> None:
    notices: list[str] = []
    async with served(serve_manifest) as registry:
        port = registry.host.rpartition(":")[2]
        assert await pull(f"{name}:{port}/app", RegistrySettings(), notices) == MANIFEST
    assert not notices


async def test_https_comes_first_on_this_machine_too(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async with served(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.host}/app", trusting(registry.host)) == MANIFEST
        assert {request.scheme for request in registry.requests} == {"https"}


async def test_an_untrusted_certificate_is_no_reason_for_plain_http(server_tls: ssl.SSLContext) -> None:
    """Someone in between could show a bad certificate just to be asked in the clear."""
    async with served(serve_manifest, tls=server_tls) as registry:
        with pytest.raises(NetworkError, match="certificate"):
            await pull(f"{registry.host}/app", RegistrySettings())
        assert not registry.requests


async def test_a_registry_elsewhere_is_never_plain() -> None:
    async with served(serve_manifest) as registry, Proxy({"registry.test:5000": registry.host}).running() as proxy:
        settings = RegistrySettings(proxies=Proxies(proxy.url, proxy.url))
        with pytest.raises(NetworkError):
            await pull("registry.test:5000/app", settings)
    assert not registry.requests
    assert all(line.startswith("CONNECT") for line in proxy.lines)


async def test_without_verification_a_registry_elsewhere_may_be_plain() -> None:
    notices: list[str] = []
    async with served(serve_manifest) as registry, Proxy({"registry.test:5000": registry.host}).running() as proxy:
        settings = RegistrySettings(tls_verify=False, proxies=Proxies(proxy.url, proxy.url))
        assert await pull("registry.test:5000/app", settings, notices) == MANIFEST
    assert len(notices) == 1
    assert "plain HTTP" in notices[0]


async def test_the_endpoint_is_discovered_once() -> None:
    async with (
        served(serve_manifest) as registry,
        RegistryClient(RegistrySettings()) as client,
        asyncio.TaskGroup() as group,
    ):
        for tag in range(20):
            group.create_task(client.get_manifest(Reference.parse(f"{registry.host}/app:{tag}")))
    assert len([request for request in registry.requests if request.path == "/v2/"]) == 1
    assert len(registry.asked("manifests")) == 20


async def test_a_failed_discovery_is_repeated() -> None:
    async with served(serve_manifest) as registry:
        image = Reference.parse(f"{registry.host}/app")
        port = int(registry.host.rpartition(":")[2])
    async with RegistryClient(RegistrySettings()) as client:
        with pytest.raises(NetworkError, match="by HTTPS"):
            await client.get_manifest(image)
        runner = web.AppRunner(_app())
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        try:
            assert (await client.get_manifest(image)).raw == MANIFEST
        finally:
            await runner.cleanup()


def _app() -> web.Application:
    app = web.Application()
    app.router.add_get("/{tail:.*}", serve_manifest)
    return app


@pytest.mark.parametrize("status", [404, 500, 429, 307])
async def test_the_status_of_the_base_path_does_not_matter(status: int) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/":
            return web.Response(status=status, headers={"Location": "ftp://nowhere.test/"})
        return web.Response(body=MANIFEST)

    async with served(handle) as registry:
        assert await pull(f"{registry.host}/app", RegistrySettings()) == MANIFEST


async def test_docker_hub_is_asked_at_its_registry(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/library/nginx/manifests/1.22":
            return web.Response(body=MANIFEST)
        return web.Response(status=404)

    async with (
        served(handle, tls=server_tls) as registry,
        Proxy({"registry-1.docker.io:443": registry.host}).running() as proxy,
    ):
        settings = replace(trusting("registry-1.docker.io"), proxies=Proxies(https=proxy.url))
        assert await pull("nginx:1.22", settings) == MANIFEST
        with pytest.raises(NotFound, match=r"docker\.io/library/other:latest not found at docker\.io"):
            await pull("other", settings)
