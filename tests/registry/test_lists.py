from __future__ import annotations

import json
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, Unauthorized
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.registry import lists
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.lists import ReferrerPage, RepositoryPage, TagPage
from tests.fakes.auth import TokenServer
from tests.fakes.faults import Fault, Function, Headers, Status
from tests.fakes.images import small
from tests.fakes.registry import FakeRegistry, answering, fake_registry
from tests.registry.rig import MANIFEST, client_of, image_at

SUBJECT = Digest.of(MANIFEST)


def sends(body: bytes, content_type: str = "application/json") -> Function:
    """Make a fault that answers with these bytes."""

    async def answer(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, headers={"Content-Type": content_type})

    return Function(answer)


def from_last(tags: str) -> Function:
    """Make a fault that answers with pages of two tags, each from the last one of the page before on."""

    async def answer(request: web.Request) -> web.StreamResponse:
        found = tags[tags.index(request.query.get("last", tags[0])) :][:2]
        return web.json_response({"name": "team/app", "tags": list(found)})

    return Function(answer)


@pytest.mark.parametrize(
    ("fault", "lists"),
    [(Headers({}), True), *((Status(status), False) for status in (400, 404, 405, 406, 501)), (Status(200), False)],
)
async def test_a_registry_that_lists_referrers(fault: Fault, lists: bool, pushable_registry: FakeRegistry) -> None:
    """Asked of a repository that is there."""
    pushable_registry.add("team/app", small("app"))
    pushable_registry.fail("/referrers/", fault, times=2)
    async with client_of(pushable_registry.address) as client:
        assert await client.lists_referrers(image_at(pushable_registry), SUBJECT) is lists
        page = await client.list_referrers(image_at(pushable_registry), SUBJECT)
        assert page == (ReferrerPage(()) if lists else None)


async def all_tags(client: RegistryClient, registry: FakeRegistry) -> list[tuple[str, ...]]:
    pages = [await client.list_tags(image_at(registry))]
    while (last := pages[-1]) is not None and last.next is not None:
        assert len(pages) < 10
        pages.append(await client.list_tags(image_at(registry), last.next))
    return [page.tags for page in pages if page is not None]


@pytest.mark.parametrize("paging", ["link", "last", "from last", "neither"])
async def test_tags_come_in_pages(paging: str, fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the address of the next page, by the last tag where the registry names none, and all at once."""
    monkeypatch.setattr(lists, "PAGE_TAGS", 2)
    for tag in "abc":
        fake_registry.add(f"team/app:{tag}", small("app"))
    if paging == "last":
        fake_registry.fail("/tags/list", Headers({"Link": ""}), times=None)
    elif paging == "from last":
        fake_registry.fail("/tags/list", from_last("abc"), times=None)
    elif paging == "neither":
        listed = {"name": "team/app", "tags": ["d", "c"]}
        fake_registry.fail("/tags/list", sends(json.dumps(listed).encode()), times=None)
    async with client_of(fake_registry.address) as client:
        found = await all_tags(client, fake_registry)
    expected: dict[str, list[tuple[str, ...]]] = {
        "link": [("a", "b"), ("c",)],
        "last": [("a", "b"), ("c",)],
        "from last": [("a", "b"), ("c",), ()],
        "neither": [("d", "c"), ()],
    }
    assert found == expected[paging]


@pytest.mark.parametrize("paging", ["link", "last", "neither"])
async def test_repositories_come_in_pages(
    paging: str, fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lists, "PAGE_TAGS", 2)
    for name in "abc":
        fake_registry.add(f"team/{name}:1", small("app"))
    if paging == "last":
        fake_registry.fail("/_catalog", Headers({"Link": ""}), times=None)
    elif paging == "neither":
        listed = {"repositories": ["team/b", "team/a"]}
        fake_registry.fail("/_catalog", sends(json.dumps(listed).encode()), times=None)
    pages: list[RepositoryPage] = []
    async with client_of(fake_registry.address) as client:
        while not pages or pages[-1].next is not None:
            assert len(pages) < 10
            pages.append(await client.list_repositories(fake_registry.address, pages[-1].next if pages else None))
    names = [page.names for page in pages]
    assert names == ([("team/b", "team/a"), ()] if paging == "neither" else [("team/a", "team/b"), ("team/c",)])


async def test_repositories_need_a_token_of_their_own() -> None:
    tokens = TokenServer({"me": "pass:word"})
    async with fake_registry(auth=tokens) as registry:
        registry.add("team/app:1", small("app"))
        settings = RegistrySettings(username="me", password="pass:word")
        async with RegistryClient(settings, username_for=registry.address) as client:
            assert (await client.list_repositories(registry.address)).names == ("team/app",)
        assert [request.scopes for request in tokens.requests] == [("registry:catalog:*",)]
        async with client_of(registry.address) as client:
            with pytest.raises(Unauthorized):
                await client.list_repositories(registry.address)


async def test_names_of_repositories_that_no_request_can_name_are_left_out(fake_registry: FakeRegistry) -> None:
    fake_registry.fail("/_catalog", sends(b'{"repositories": ["a/b", "A", "", "../x", "a?b", "a/../b", "a//b"]}'))
    async with client_of(fake_registry.address) as client:
        assert (await client.list_repositories(fake_registry.address)).names == ("a/b",)


@pytest.mark.parametrize(
    ("link", "path"),
    [
        ('</v2/team/app/tags/list?last=b%2Fc&n=2>; rel="next"', "/v2/team/app/tags/list?last=b/c&n=2"),
        ("<http://inside.example:5000/v2/team/app/tags/list?last=b>; rel=next", "/v2/team/app/tags/list?last=b"),
        ('<?last=b>; rel="next"', "/v2/team/app/tags/list?last=b"),
        ('</v2/x>; rel="previous"', None),
        ("<", None),
        ('<http://[/>; rel="next"', None),
        ('</v2/team/app/tags/list?n=1000>; rel="next"', None),
    ],
)
async def test_the_next_page_is_at_the_registry_that_was_asked(
    link: str, path: str | None, fake_registry: FakeRegistry
) -> None:
    """Whatever host it names; an address that cannot be read, and that of the same page, are none."""
    fake_registry.add("team/app:a", small("app"))
    fake_registry.fail("/tags/list", Headers({"Link": link}))
    async with client_of(fake_registry.address) as client:
        page = await client.list_tags(image_at(fake_registry))
    assert page is not None
    assert page.next == (None if path is None else URL(f"http://{fake_registry.address}{path}", encoded=True))


@pytest.mark.parametrize(
    ("document", "tags"),
    [({"tags": None}, ()), ({}, ()), ({"tags": ["a", "b/c", "", "../x", "v1.0+x", "B"]}, ("a", "B"))],
)
async def test_tags_that_no_request_can_name_are_left_out(
    document: Any, tags: tuple[str, ...], fake_registry: FakeRegistry
) -> None:
    fake_registry.fail("/tags/list", sends(json.dumps(document).encode()))
    async with client_of(fake_registry.address) as client:
        assert await client.list_tags(image_at(fake_registry)) == TagPage(tags)


async def test_a_repository_that_is_not_there_has_no_tags(fake_registry: FakeRegistry) -> None:
    async with client_of(fake_registry.address) as client:
        assert await client.list_tags(image_at(fake_registry)) is None


@pytest.mark.parametrize("body", [b"[]", b'{"tags": [1]}', b"{", b'{"tags": "x"}', b"\xff"])
async def test_a_list_of_tags_that_is_none(body: bytes, fake_registry: FakeRegistry) -> None:
    fake_registry.fail("/tags/list", sends(body))
    async with client_of(fake_registry.address) as client:
        with pytest.raises(ContentError, match=r"the tags of .* are not what they should be"):
            await client.list_tags(image_at(fake_registry))


async def test_pages_have_a_largest_size(fake_registry: FakeRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lists, "MAX_PAGE", 10)
    fake_registry.add("team/app:a", small("app"))
    async with client_of(fake_registry.address) as client:
        with pytest.raises(ContentError, match="larger than 10 bytes"):
            await client.list_tags(image_at(fake_registry))
        with pytest.raises(ContentError, match="larger than 10 bytes"):
            await client.list_referrers(image_at(fake_registry), SUBJECT)


def listed(number: int) -> dict[str, Any]:
    digest = str(Digest.of(bytes([number])))
    return {"mediaType": media_types.OCI_MANIFEST, "digest": digest, "size": 1, "artifactType": f"text/{number}"}


async def test_referrers_come_in_pages() -> None:
    """The type that is asked for stands in the query; the registry need not heed it."""

    async def answer(request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": f"{media_types.OCI_INDEX}; charset=utf-8"}
        number = int(request.query.get("page", "0"))
        if number == 0:
            headers["Link"] = f'<{request.path}?page=1>; rel="next"'
        body = {"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": [listed(number)]}
        return web.Response(body=json.dumps(body).encode(), headers=headers)

    async with answering(answer) as registry, client_of(registry.address) as client:
        first = await client.list_referrers(image_at(registry), SUBJECT, "text/1+x")
        assert first is not None
        second = await client.list_referrers(image_at(registry), SUBJECT, "text/1+x", first.next)
    assert second is not None
    assert [one.artifact_type for one in (*first.referrers, *second.referrers)] == ["text/0", "text/1"]
    assert second.next is None
    assert registry.asked("/referrers/")[0].query == {"artifactType": "text/1+x"}


async def test_referrers_that_are_no_index(fake_registry: FakeRegistry) -> None:
    fake_registry.fail("/referrers/", sends(MANIFEST.replace(b"image.manifest", b"image.index"), media_types.OCI_INDEX))
    async with client_of(fake_registry.address) as client:
        with pytest.raises(ContentError):
            await client.list_referrers(image_at(fake_registry), SUBJECT)


async def test_a_repository_of_a_registry_that_knows_no_other_is_new(fake_registry: FakeRegistry) -> None:
    fake_registry.add("team/other:a", small("app"))
    async with client_of(fake_registry.address) as client:
        assert await client.is_new(image_at(fake_registry))
        fake_registry.add("team/app:a", small("app"))
        assert not await client.is_new(image_at(fake_registry))
