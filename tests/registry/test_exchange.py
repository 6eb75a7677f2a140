from __future__ import annotations

import pytest
from aiohttp import web

from hangar_async.errors import NetworkError, NotFound, RegistryError, Unauthorized
from tests.fakes.auth import Basic, TokenServer
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.registry.rig import (
    BLOB,
    DATA,
    LOGIN,
    MANIFEST,
    OCI,
    Lent,
    client_of,
    describe,
    image_at,
    manifest_error,
    manifest_server,
    served,
)


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


async def test_a_token_has_the_scopes_of_its_request() -> None:
    tokens = TokenServer({"me": "pass:word"})
    async with fake_registry(auth=tokens, pushable=True) as registry, client_of(registry.address, LOGIN) as client:
        image = image_at(registry)
        registry.content.add_blob("base/one", DATA)
        assert not await client.has_blob(image, BLOB)
        assert await client.mount_blob(image, BLOB, "base/one") is None
        assert await client.mount_blob(image, BLOB, "team/app") is None
        async with client.upload(image, describe(DATA[1:])) as upload:
            await upload.send(Lent(DATA[1:]))
        await client.put_manifest(image, b"{}", OCI)
    assert [request.scopes for request in tokens.requests] == [
        ("repository:team/app:pull,push",),
        ("repository:team/app:pull,push", "repository:base/one:pull"),
    ]
    assert all(request.status != 401 for request in registry.requests[1:])


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

    async with served(page) as host, client_of(host.host) as client:
        with pytest.raises(NotFound, match="is no registry"):
            await client.ping(host.host)


async def test_ping_of_a_closed_port_is_a_network_error() -> None:
    async with fake_registry() as registry:
        pass
    async with client_of(registry.address) as client:
        with pytest.raises(NetworkError):
            await client.ping(registry.address)
