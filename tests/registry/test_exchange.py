from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
from aiohttp import web

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError, NotFound, RegistryError, Unauthorized
from hangar_async.oci.reference import Reference
from hangar_async.registry import exchange
from hangar_async.registry.client import RegistryClient
from tests.fakes.auth import Basic, TokenServer
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry, answering, fake_registry
from tests.registry.rig import (
    BLOB,
    DATA,
    LOGIN,
    MANIFEST,
    OCI,
    Lent,
    Proxy,
    client_of,
    image_at,
    manifest_error,
    manifest_server,
    pull,
    serve_manifest,
)


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_a_registry_on_this_machine_may_be_plain(name: str) -> None:
    notices: list[str] = []
    async with answering(serve_manifest) as registry:
        port = registry.address.rpartition(":")[2]
        assert await pull(f"{name}:{port}/app", RegistrySettings(), notices) == MANIFEST
    assert not notices


async def test_no_certificates_are_loaded_for_a_plain_registry_on_this_machine() -> None:
    async with answering(serve_manifest) as registry, RegistryClient(RegistrySettings()) as client:
        assert (await client.get_manifest(Reference.parse(f"{registry.address}/app:1"))).raw == MANIFEST
        assert not client._transport._tls._by_folders
        assert [request.path for request in registry.requests][:1] == ["/v2/"]


@pytest.mark.parametrize("head_start", [0.0, 1.0])
async def test_tls_is_found_on_this_machine_too(
    server_tls: ssl.SSLContext,
    trusting: Callable[..., RegistrySettings],
    monkeypatch: pytest.MonkeyPatch,
    head_start: float,
) -> None:
    """Also where the server does not answer plain HTTP at once."""
    monkeypatch.setattr(exchange, "_HEAD_START", head_start)
    async with answering(serve_manifest, tls=server_tls) as registry:
        assert await pull(f"{registry.address}/app", trusting(registry.address)) == MANIFEST
        assert registry.asked("/manifests/")


async def test_an_untrusted_certificate_is_no_reason_for_plain_http(server_tls: ssl.SSLContext) -> None:
    """Someone in between could show a bad certificate just to be asked in the clear."""
    async with answering(serve_manifest, tls=server_tls) as registry:
        with pytest.raises(NetworkError, match="certificate"):
            await pull(f"{registry.address}/app", RegistrySettings())
        assert not registry.requests


async def test_a_registry_elsewhere_is_never_plain() -> None:
    async with (
        answering(serve_manifest) as registry,
        Proxy({"registry.test:5000": registry.address}).running() as proxy,
    ):
        settings = RegistrySettings(proxies=Proxies(proxy.url, proxy.url))
        with pytest.raises(NetworkError):
            await pull("registry.test:5000/app", settings)
    assert not registry.requests
    assert all(line.startswith("CONNECT") for line in proxy.lines)


async def test_without_verification_a_registry_elsewhere_may_be_plain() -> None:
    notices: list[str] = []
    async with (
        answering(serve_manifest) as registry,
        Proxy({"registry.test:5000": registry.address}).running() as proxy,
    ):
        settings = RegistrySettings(tls_verify=False, proxies=Proxies(proxy.url, proxy.url))
        assert await pull("registry.test:5000/app", settings, notices) == MANIFEST
    assert len(notices) == 1
    assert "plain HTTP" in notices[0]


async def test_the_endpoint_is_discovered_once() -> None:
    async with (
        answering(serve_manifest) as registry,
        RegistryClient(RegistrySettings()) as client,
        asyncio.TaskGroup() as group,
    ):
        for tag in range(20):
            group.create_task(client.get_manifest(Reference.parse(f"{registry.address}/app:{tag}")))
    assert len([request for request in registry.requests if request.path == "/v2/"]) == 1
    assert len(registry.asked("manifests")) == 20


async def test_a_failed_discovery_is_repeated() -> None:
    async with answering(serve_manifest) as registry:
        image = Reference.parse(f"{registry.address}/app")
        port = int(registry.address.rpartition(":")[2])
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

    async with answering(handle) as registry:
        assert await pull(f"{registry.address}/app", RegistrySettings()) == MANIFEST


async def test_docker_hub_is_asked_at_its_registry(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/library/nginx/manifests/1.22":
            return web.Response(body=MANIFEST)
        return web.Response(status=404)

    async with (
        answering(handle, tls=server_tls) as registry,
        Proxy({"registry-1.docker.io:443": registry.address}).running() as proxy,
    ):
        settings = replace(trusting("registry-1.docker.io"), proxies=Proxies(https=proxy.url))
        assert await pull("nginx:1.22", settings) == MANIFEST
        with pytest.raises(NotFound, match=r"docker\.io/library/other:latest not found at docker\.io"):
            await pull("other", settings)


async def test_not_found_names_the_image_and_the_registry() -> None:
    body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
    error = await manifest_error(manifest_server(body, 404), "team/app:v9")
    assert isinstance(error, NotFound)
    assert "team/app:v9" in str(error)
    assert error.code == "MANIFEST_UNKNOWN"
    assert error.host in str(error)
    assert not error.transient


@pytest.mark.parametrize("status", [401, 403])
async def test_a_denial_without_credentials_says_that_none_are_known(status: int) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}'
    error = await manifest_error(manifest_server(body, status))
    assert isinstance(error, Unauthorized)
    assert "no credentials" in str(error)
    assert "DENIED: requested access is denied" in str(error)
    assert not error.transient


@pytest.mark.parametrize(("told", "wait"), [("17", 17.0), ("soon", None), ("", None)])
async def test_a_rate_limit_tells_the_wait(told: str, wait: float | None) -> None:
    error = await manifest_error(manifest_server(b"{}", 429, Retry_After=told))
    assert (error.status, error.retry_after, error.transient) == (429, wait, True)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_server_error_is_transient(status: int) -> None:
    body = b"<html><body>Bad Gateway</body></html>" * 10_000
    error = await manifest_error(manifest_server(body, status, Content_Type="text/html"))
    assert error.status == status
    assert error.transient
    assert "<" not in str(error)


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 405])
async def test_any_other_status_is_a_lasting_error(status: int) -> None:
    error = await manifest_error(manifest_server(b"", status))
    assert error.status == status
    assert not error.transient


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_a_head_that_fails_is_transient(fake_registry: FakeRegistry, status: int) -> None:
    fake_registry.fail("/v2/team/", Status(status), times=None)
    async with client_of(fake_registry.address) as client:
        with pytest.raises(RegistryError) as caught:
            await client.has_blob(image_at(fake_registry), BLOB)
        assert caught.value.transient
        with pytest.raises(RegistryError) as caught:
            await client.head_manifest(image_at(fake_registry), push=True)
        assert caught.value.transient


async def test_a_read_only_registry_takes_no_push(fake_registry: FakeRegistry) -> None:
    async with client_of(fake_registry.address) as client:
        image = image_at(fake_registry)
        with pytest.raises(RegistryError, match="takes no pushes") as caught:
            await client.put_manifest(image, MANIFEST, OCI)
        assert (caught.value.status, caught.value.transient) == (405, False)
        with pytest.raises(RegistryError, match="takes no pushes"):
            await client.upload(image, BLOB).send(Lent(DATA))


async def test_ping_tells_whether_credentials_were_wanted() -> None:
    for auth, wanted in ((Basic({"me": "pass:word"}), True), (TokenServer({"me": "pass:word"}), True), (None, False)):
        async with fake_registry(auth=auth) as registry, client_of(registry.address, LOGIN) as client:
            assert await client.ping(registry.address) == wanted
            if isinstance(auth, TokenServer):
                assert [request.scopes for request in auth.requests] == [()]


@pytest.mark.parametrize("kind", [Basic, TokenServer])
async def test_ping_with_a_wrong_password_is_unauthorized(kind: type[Basic | TokenServer]) -> None:
    async with fake_registry(auth=kind({"me": "other"})) as registry, client_of(registry.address, LOGIN) as client:
        with pytest.raises(Unauthorized) as caught:
            await client.ping(registry.address)
    assert "pass:word" not in f"{caught.value} {caught.value!r}"


async def test_ping_without_credentials_is_unauthorized_where_some_are_wanted() -> None:
    async with fake_registry(auth=Basic({"me": "x"})) as registry, client_of(registry.address) as client:
        with pytest.raises(Unauthorized, match="no credentials"):
            await client.ping(registry.address)


@pytest.mark.parametrize(
    "answer",
    [web.Response(status=404), web.Response(text="<html>welcome", content_type="text/html")],
    ids=["404", "page"],
)
async def test_ping_of_a_host_that_is_no_registry_is_not_found(answer: web.Response) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(status=answer.status, text=answer.text, content_type=answer.content_type)

    async with answering(page) as host, client_of(host.address) as client:
        with pytest.raises(NotFound, match="is no registry"):
            await client.ping(host.address)


async def test_ping_of_a_closed_port_is_a_network_error() -> None:
    async with fake_registry() as registry:
        pass
    async with client_of(registry.address) as client:
        with pytest.raises(NetworkError):
            await client.ping(registry.address)
