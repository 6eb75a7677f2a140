"""Harbor's projects, against a fake that is written from the API's description."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, NetworkError, NotFound, RegistryError, Unauthorized
from hangar_async.registry import harbor as harbor_module
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.harbor import HarborProjects
from tests.fakes.harbor import PASSWORD, Harbor
from tests.fakes.registry import FakeRegistry, answering


@asynccontextmanager
async def projects_of(
    harbor: Harbor, username: str | None = "admin", password: str = PASSWORD
) -> AsyncIterator[tuple[HarborProjects, FakeRegistry]]:
    async with answering(harbor) as server:
        settings = RegistrySettings(username=username, password=password)
        async with RegistryClient(settings, username_for=server.address) as client:
            yield HarborProjects(client, server.address, https=False), server


@pytest.mark.parametrize("public", [False, True])
async def test_a_missing_project_is_created(public: bool) -> None:
    harbor = Harbor({"library": {}})
    async with projects_of(harbor) as (projects, server):
        assert await projects.exists("library")
        assert not await projects.exists("rancher")
        assert await projects.create("rancher", public=public)
        assert await projects.exists("rancher")
        assert not await projects.create("rancher")
    assert harbor.projects["rancher"] == {"public": "true" if public else "false"}
    posts = [request for request in server.requests if request.method == "POST"]
    assert {request.headers["Content-Type"] for request in posts} == {"application/json"}


async def test_a_harbor_without_tls_is_told_at_once() -> None:
    async with answering(Harbor({})) as server, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(NetworkError, match="answers in plain HTTP") as caught:
            await HarborProjects(client, server.address).exists("library")
    assert not caught.value.transient
    assert "--harbor-https=false" in caught.value.advice


async def test_a_name_with_special_characters_is_quoted() -> None:
    harbor = Harbor({"a&b=c d": {}})
    async with projects_of(harbor) as (projects, _):
        assert await projects.exists("a&b=c d")


async def test_the_repositories_of_a_project_come_in_pages() -> None:
    harbor = Harbor({"a b": {}}, repositories=[f"app{number}" for number in range(101)])
    async with projects_of(harbor) as (projects, _):
        assert [len(await projects.repositories("a b", page)) for page in (1, 2, 3)] == [100, 1, 0]
        assert (await projects.repositories("a b", 2)) == ["a b/app100"]
        with pytest.raises(NotFound):
            await projects.repositories("none", 1)

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.json_response({"repositories": []})

    async with answering(answer) as server, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(ContentError, match=r"the repositories of project a of .* are not what they should be"):
            await HarborProjects(client, server.address, https=False).repositories("a", 1)


async def test_a_list_has_a_largest_size(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(harbor_module, "_LARGEST", 10)
    async with projects_of(Harbor({"a": {}}, repositories=["app"])) as (projects, _):
        with pytest.raises(ContentError, match="larger than 10 bytes"):
            await projects.repositories("a", 1)


async def test_a_user_without_the_right_to_create_is_unauthorized() -> None:
    async with projects_of(Harbor(), "other", "x") as (projects, _):
        assert not await projects.exists("rancher")
        with pytest.raises(Unauthorized, match="Only system admin") as caught:
            await projects.create("rancher")
    assert caught.value.status == 403
    assert "administrator" in caught.value.advice


async def test_a_wrong_or_missing_password_is_unauthorized() -> None:
    for username, why in (("admin", "settings of this run"), (None, "no credentials")):
        async with projects_of(Harbor(), username, "wrong") as (projects, _):
            with pytest.raises(Unauthorized, match=why) as caught:
                await projects.exists("rancher")
            assert "wrong" not in str(caught.value)
            with pytest.raises(Unauthorized):
                await projects.create("rancher")


async def test_a_registry_that_is_no_harbor_is_named() -> None:
    async with projects_of(Harbor(status=404)) as (projects, _):
        assert not await projects.exists("rancher")
        with pytest.raises(NotFound, match="is no Harbor") as caught:
            await projects.create("rancher")
    assert "--repo-type" in caught.value.advice


@pytest.mark.parametrize(("status", "transient"), [(500, True), (503, True), (400, False)])
async def test_a_failing_harbor_is_transient_by_its_status(status: int, transient: bool) -> None:
    async with projects_of(Harbor(status=status)) as (projects, _):
        for work in (projects.exists("rancher"), projects.create("rancher")):
            with pytest.raises(RegistryError) as caught:
                await work
            assert caught.value.transient == transient


async def test_harbor_is_asked_by_https_unless_told_otherwise() -> None:
    async with answering(Harbor()) as server, RegistryClient(RegistrySettings()) as client:
        with pytest.raises(NetworkError):
            await HarborProjects(client, server.address).exists("rancher")


@pytest.mark.parametrize("status", [201, 503])
async def test_an_endless_answer_is_read_to_its_bound(status: int) -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(status=status)
        await response.prepare(request)
        with suppress(ConnectionError):
            while True:
                await response.write(b"[" * 65536)
        return response

    async with answering(handle) as server, RegistryClient(RegistrySettings()) as client:
        projects = HarborProjects(client, server.address, https=False)
        if status == 201:
            assert await projects.create("rancher")
        else:
            with pytest.raises(RegistryError, match="answered 503"):
                await projects.create("rancher")
