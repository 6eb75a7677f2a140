"""One token for several repositories, where the server grants it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from itertools import count
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import RegistryError, Unauthorized
from hangar_async.oci.reference import Reference
from hangar_async.registry.auth.shared import SharedRequests
from hangar_async.registry.client import RegistryClient
from hangar_async.tasks import each
from tests.fakes.auth import TokenServer
from tests.fakes.faults import Status
from tests.fakes.registry import FakeRegistry, answering, fake_registry
from tests.registry.auth.rig import BearerRegistry, auth, write
from tests.registry.rig import BLOB, DATA, LOGIN, MANIFEST, OCI, client_of


def named(registry: FakeRegistry, count: int) -> list[Reference]:
    """Give a registry so many repositories."""
    for number in range(count):
        registry.content.add_manifest(f"app{number}", MANIFEST, OCI, tags=["1"])
    return [Reference.parse(f"{registry.address}/app{number}:1") for number in range(count)]


async def get_all(client: RegistryClient, images: Iterable[Reference]) -> list[str]:
    """Get the manifest of each image; return the repositories that refused it."""
    refused = []
    for image in images:
        try:
            assert (await client.get_manifest(image)).raw == MANIFEST
        except Unauthorized:
            refused.append(image.repository)
    return refused


async def test_one_token_serves_ten_repositories() -> None:
    tokens = TokenServer()
    async with fake_registry(auth=tokens) as registry, RegistryClient(RegistrySettings()) as client:
        images = named(registry, 12)
        client.expect(images)
        assert await get_all(client, [*images, images[0]]) == []
    assert [len(request.scopes) for request in tokens.requests] == [10, 2]
    assert [request.status for request in registry.requests].count(401) == 1


async def test_requests_at_the_same_time_wait_for_one_token() -> None:
    tokens = TokenServer()
    async with fake_registry(auth=tokens) as registry, RegistryClient(RegistrySettings()) as client:
        images = named(registry, 10)
        client.expect(images)
        await each(images, client.get_manifest, 10)
    assert [len(request.scopes) for request in tokens.requests] == [10]


async def test_a_repository_that_is_not_expected_has_its_own_token() -> None:
    tokens = TokenServer()
    async with fake_registry(auth=tokens) as registry, RegistryClient(RegistrySettings()) as client:
        images = named(registry, 3)
        client.expect(images[:2])
        assert await get_all(client, images[::-1]) == []
    assert [len(request.scopes) for request in tokens.requests] == [1, 2]


async def test_a_shared_token_is_renewed_before_it_ends() -> None:
    tokens, now = TokenServer(expires_in=100), [1000.0]
    async with (
        fake_registry(auth=tokens) as registry,
        RegistryClient(RegistrySettings(), clock=lambda: now[0]) as client,
    ):
        images = named(registry, 3)
        client.expect(images)
        assert await get_all(client, images) == []
        now[0] += 100
        assert await get_all(client, images) == []
    assert [len(request.scopes) for request in tokens.requests] == [3, 3]
    assert [request.status for request in registry.requests].count(401) == 1


async def test_a_repository_that_is_not_granted_takes_no_other_with_it() -> None:
    tokens = TokenServer(private=frozenset({"app1"}))
    async with fake_registry(auth=tokens) as registry, RegistryClient(RegistrySettings()) as client:
        images = named(registry, 20)
        client.expect(images)
        assert await get_all(client, images) == ["app1"]
    assert [len(request.scopes) for request in tokens.requests] == [10, 1, 10]


async def test_a_server_that_grants_one_repository_alone_is_asked_for_each() -> None:
    bearer = BearerRegistry()
    async with answering(bearer) as registry, RegistryClient(RegistrySettings()) as client:
        images = [Reference.parse(f"{registry.address}/app{number}:1") for number in range(30)]
        client.expect(images)
        assert await get_all(client, images) == []
    # One for ten, of which it grants the first alone, and one for each other.
    assert len(registry.asked("/token")) == 30


async def test_a_server_that_refuses_to_be_asked_for_several_is_asked_for_each() -> None:
    bearer = BearerRegistry()

    async def one_alone(request: web.Request) -> web.Response:
        if len(request.query.getall("scope", [])) > 1:
            return web.json_response({"details": "one scope at a time"}, status=400)
        return await bearer(request)

    async with answering(one_alone) as registry, RegistryClient(RegistrySettings()) as client:
        images = [Reference.parse(f"{registry.address}/app{number}:1") for number in range(30)]
        client.expect(images)
        assert await get_all(client, images) == []
    assert len(bearer.issued) == 30
    assert len(registry.asked("/token")) == 31


@pytest.mark.parametrize(("status", "tokens_asked"), [(503, [1, 1, 1, 1, 1]), (429, [5])])
async def test_a_server_that_fails_for_several_is_asked_for_each(status: int, tokens_asked: list[int]) -> None:
    tokens = TokenServer()
    tokens.faults.add("", Status(status))
    async with fake_registry(auth=tokens) as registry, RegistryClient(RegistrySettings()) as client:
        images = named(registry, 5)
        client.expect(images)
        if status == 429:
            with pytest.raises(RegistryError):
                await client.get_manifest(images[0])
        assert await get_all(client, images) == []
    assert [len(request.scopes) for request in tokens.requests] == tokens_asked


@pytest.mark.parametrize("status", [403, 404])
async def test_a_repository_that_a_shared_token_does_not_show_is_asked_with_its_own(status: int) -> None:
    """Some registries hide what a token does not grant."""
    tokens = TokenServer()

    async def hide(request: web.Request, handler: Handler) -> web.StreamResponse:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        granted = tokens._tokens[bearer][0] if bearer in tokens.issued else set()
        if len(granted) > 1 and "/app1/" in request.path:
            return web.Response(status=status)
        return await handler(request)

    async with fake_registry(auth=tokens) as registry, RegistryClient(RegistrySettings()) as client:
        images = named(registry, 3)
        client.expect(images)
        registry.fail("", hide, times=None)
        assert await get_all(client, images) == []
        assert (await client.head_manifest(images[1])) is not None
    assert [len(request.scopes) for request in tokens.requests] == [3, 1]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_registry_that_refuses_each_new_token_is_asked_few_times(status: int) -> None:
    """The token server gives another token each time, since each has run out at once."""
    bearer = BearerRegistry({"expires_in": 0.001})

    async def refuse(request: web.Request) -> web.Response:
        answer = await bearer(request)
        return answer if request.path == "/token" or answer.status == 401 else web.Response(status=status)

    async with answering(refuse) as registry, RegistryClient(RegistrySettings(), clock=count().__next__) as client:
        images = [Reference.parse(f"{registry.address}/app{number}:1") for number in range(3)]
        client.expect(images)
        async with asyncio.timeout(30):
            with pytest.raises(RegistryError):
                await client.get_manifest(images[0])
    assert len(registry.asked("/manifests/")) <= 4


async def test_repositories_of_two_credentials_share_no_token(tmp_path: Path) -> None:
    tokens = TokenServer({"one": "1", "two": "2"}, private=frozenset({"app0", "app1", "app2"}))
    async with fake_registry(auth=tokens) as registry:
        images = named(registry, 3)
        host = registry.address
        auths = {f"{host}/app0": auth("one", "1"), f"{host}/app1": auth("two", "2"), f"{host}/app2": auth("one", "1")}
        settings = RegistrySettings(credential_files=(write(tmp_path / "config.json", auths=auths),))
        async with RegistryClient(settings) as client:
            client.expect(images)
            assert await get_all(client, images) == []
    assert [(request.account, len(request.scopes)) for request in tokens.requests] == [("one", 2), ("two", 1)]


async def test_a_mount_uses_the_token_of_both_repositories() -> None:
    tokens = TokenServer({"me": "pass:word"})
    async with fake_registry(auth=tokens, pushable=True) as registry, client_of(registry.address, LOGIN) as client:
        registry.content.add_blob("base/one", DATA)
        image, other = (Reference.parse(f"{registry.address}/{name}:1") for name in ("team/app", "base/one"))
        client.expect([image, other], push=True)
        assert not await client.has_blob(image, BLOB)
        assert await client.mount_blob(image, BLOB, "base/one") is None
    assert [len(request.scopes) for request in tokens.requests] == [2]


def test_no_repository_is_taken_twice() -> None:
    requests = SharedRequests()
    requests.expect("r", ["a", "b", "c"], "pull")
    assert requests.next_repositories("r", "b", "pull") == ["a", "c"]
    assert requests.next_repositories("r", "a", "pull") == []
    assert requests.next_repositories("r", "b", "pull") == []
