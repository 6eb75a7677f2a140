from __future__ import annotations

import json
import random
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, NetworkError, NotFound, RegistryError, Unauthorized
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.testing.images import Built
from tests.fakes.auth import Basic, TokenServer
from tests.fakes.faults import Close, Headers, Status, redirect
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.registry.rig import MANIFEST, OCI, Lent, describe, served

DATA = random.Random(13).randbytes(50_000)
BLOB = describe(DATA)


@asynccontextmanager
async def client_of(host: str, username: str | None = None, **changes: object) -> AsyncIterator[RegistryClient]:
    settings = RegistrySettings(username=username, password="pass:word" if username else None)
    async with RegistryClient(replace(settings, **changes), username_for=host, connections=1) as client:  # type: ignore[arg-type]
        yield client


def image_at(registry: FakeRegistry, name: str = "team/app:v1") -> Reference:
    return Reference.parse(f"{registry.address}/{name}")


async def push(client: RegistryClient, image: Reference, built: Built) -> None:
    """Push an image as it has to be: blobs, children, the tag last."""
    for data in built.blobs.values():
        blob = describe(data)
        if not await client.has_blob(image, blob):
            async with client.upload(image, blob) as upload:
                await upload.send(Lent(data))
    for digest, (media_type, raw) in built.documents.items():
        assert (await client.put_manifest(image, raw, media_type, digest)).digest == digest
    assert (await client.put_manifest(image, built.raw, built.media_type)).digest == built.digest


async def test_every_kind_of_image_keeps_its_digests(
    pushable_registry: FakeRegistry, images: Mapping[str, Built]
) -> None:
    async with client_of(pushable_registry.address) as client:
        for name, built in images.items():
            image = image_at(pushable_registry, f"kinds/{name}:v1")
            assert await client.head_manifest(image, push=True) is None
            await push(client, image, built)
            assert await client.head_manifest(image, push=True) == replace(built.descriptor, platform=None)
            for digest, (media_type, raw) in built.documents.items():
                found = await client.head_manifest(image, digest, push=True)
                assert found
                assert (found.media_type, found.digest, found.size) == (media_type, digest, len(raw))
                assert (await client.get_manifest(image, digest)).raw == raw


async def test_parents_before_their_children_are_refused(
    pushable_registry: FakeRegistry, images: Mapping[str, Built]
) -> None:
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        for name in ("oci", "multi"):
            with pytest.raises(RegistryError, match="lacks something that manifest") as caught:
                await client.put_manifest(image, images[name].raw, images[name].media_type)
            assert (caught.value.code, caught.value.transient) == ("MANIFEST_BLOB_UNKNOWN", True)
        assert await client.head_manifest(image, push=True) is None


async def test_what_is_there_costs_one_request(pushable_registry: FakeRegistry) -> None:
    pushable_registry.content.add_blob("team/app", DATA)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        assert await client.has_blob(image, BLOB)
        assert not await client.has_blob(image, describe(b"other"))
        assert not await client.has_blob(image_at(pushable_registry, "other"), BLOB)
    assert [one.method for one in pushable_registry.asked("/blobs/")] == ["HEAD"] * 3


@pytest.mark.parametrize("status", [405, 501])
async def test_a_registry_without_head_has_no_blob_for_all_we_know(fake_registry: FakeRegistry, status: int) -> None:
    fake_registry.fail("/blobs/", Status(status))
    async with client_of(fake_registry.address) as client:
        assert not await client.has_blob(image_at(fake_registry), BLOB)


@pytest.mark.parametrize(("status", "there"), [(200, True), (404, False), (400, False), (401, False), (403, False)])
async def test_storage_that_a_head_is_sent_to(fake_registry: FakeRegistry, status: int, there: bool) -> None:
    async def storage(request: web.Request) -> web.Response:
        return web.Response(status=status)

    async with served(storage) as elsewhere, client_of(fake_registry.address) as client:
        fake_registry.fail("/blobs/", redirect(f"http://{elsewhere.host}/x"))
        assert await client.has_blob(image_at(fake_registry), BLOB) == there
    assert [request.method for request in elsewhere.requests] == ["HEAD"]


@pytest.mark.parametrize("status", [429, 500, 503])
async def test_whether_it_is_there_may_not_be_known_now(fake_registry: FakeRegistry, status: int) -> None:
    fake_registry.fail("/v2/team/", Status(status), times=None)
    async with client_of(fake_registry.address) as client:
        with pytest.raises(RegistryError) as caught:
            await client.has_blob(image_at(fake_registry), BLOB)
        assert caught.value.transient
        with pytest.raises(RegistryError) as caught:
            await client.head_manifest(image_at(fake_registry), push=True)
        assert caught.value.transient


@pytest.mark.parametrize(
    "fault",
    [Headers({"Docker-Content-Digest": None}), Headers({"Docker-Content-Digest": "nonsense"}), Status(405)],
)
async def test_a_manifest_that_is_not_told_by_head_is_fetched(fake_registry: FakeRegistry, fault: Headers) -> None:
    digest = fake_registry.content.add_manifest("team/app", MANIFEST, OCI, ["v1"])
    fake_registry.fail("/manifests/", fault, method="HEAD", times=None)
    async with client_of(fake_registry.address) as client:
        found = await client.head_manifest(image_at(fake_registry), push=True)
        assert found
        assert (found.media_type, found.digest, found.size) == (OCI, digest, len(MANIFEST))
        assert await client.head_manifest(image_at(fake_registry, "other:v1"), push=True) is None
    assert [one.method for one in fake_registry.asked("/team/app/manifests/")] == ["HEAD", "GET"]


async def test_a_head_accepts_every_kind(fake_registry: FakeRegistry) -> None:
    async with client_of(fake_registry.address) as client:
        assert await client.head_manifest(image_at(fake_registry), push=True) is None
    assert fake_registry.asked("/manifests/")[0].headers["Accept"] == media_types.ACCEPT


async def test_another_digest_than_the_one_asked_for(fake_registry: FakeRegistry) -> None:
    digest = fake_registry.content.add_manifest("team/app", MANIFEST, OCI)
    fake_registry.fail("/manifests/", Headers({"Docker-Content-Digest": str(Digest.of(b"other"))}))
    async with client_of(fake_registry.address) as client:
        with pytest.raises(DigestMismatch):
            await client.head_manifest(image_at(fake_registry), digest, push=True)


async def test_a_manifest_goes_byte_for_byte(pushable_registry: FakeRegistry) -> None:
    raw = b' \n{"schemaVersion": 2, "layers": []}\t'
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        pushed = await client.put_manifest(image, raw, OCI)
        assert (pushed.digest, pushed.subject) == (Digest.of(raw), None)
        assert (await client.put_manifest(image, raw, OCI, Digest.of(raw, "sha512"))).digest.algorithm == "sha512"
        by_digest = Reference(pushable_registry.address, "team/app", digest=Digest.of(raw))
        assert (await client.put_manifest(by_digest, raw, OCI)).digest == Digest.of(raw)
        assert (await client.get_manifest(image)).raw == raw
    puts = pushable_registry.asked("/manifests/", "PUT")
    assert [one.path.rpartition("/")[2] for one in puts] == ["v1", str(Digest.of(raw, "sha512")), str(Digest.of(raw))]
    assert {one.headers["Content-Type"] for one in puts} == {OCI}
    assert {one.headers["Content-Length"] for one in puts} == {str(len(raw))}


async def test_a_manifest_of_the_largest_size(pushable_registry: FakeRegistry) -> None:
    raw = b"{" + b" " * ((4 << 20) - 2) + b"}"
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), raw, OCI)).digest == Digest.of(raw)


async def test_bytes_that_are_not_what_they_are_to_be_pushed_as(pushable_registry: FakeRegistry) -> None:
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(ContentError, match="have the digest"):
            await client.put_manifest(image_at(pushable_registry), MANIFEST, OCI, Digest.of(b"other"))
    assert not pushable_registry.requests


@pytest.mark.parametrize(
    "headers",
    [
        {"Docker-Content-Digest": str(Digest.of(b"other"))},
        {"Location": f"/v2/team/app/manifests/{Digest.of(b'other')}"},
        {"Location": f"https://reg.io/v2/team/app/manifests/sha256%3A{Digest.of(b'other').hex}?x=y"},
    ],
)
async def test_a_manifest_that_the_registry_has_under_another_digest(
    pushable_registry: FakeRegistry, headers: Mapping[str, str]
) -> None:
    pushable_registry.fail("/manifests/", Status(201, headers))
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(DigestMismatch, match="under another digest"):
            await client.put_manifest(image_at(pushable_registry), MANIFEST, OCI)


@pytest.mark.parametrize("headers", [{}, {"Location": "/v2/team/app/manifests/v1"}, {"Docker-Content-Digest": "x"}])
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_a_registry_that_says_little_is_believed(
    pushable_registry: FakeRegistry, headers: Mapping[str, str], status: int
) -> None:
    pushable_registry.fail("/manifests/", Status(status, headers))
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), MANIFEST, OCI)).digest == Digest.of(MANIFEST)


async def test_what_a_referrer_is_of_is_told(pushable_registry: FakeRegistry) -> None:
    subject = describe(b"an image")
    raw = json.dumps({"schemaVersion": 2, "subject": subject.to_json(), "layers": []}).encode()
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), raw, OCI)).subject == subject.digest


async def test_an_immutable_tag(pushable_registry: FakeRegistry) -> None:
    assert pushable_registry.pushes
    pushable_registry.pushes.immutable.add("v1")
    pushable_registry.pushes.complete = False
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        for _ in range(2):
            await client.put_manifest(image, MANIFEST, OCI)
        with pytest.raises(RegistryError, match="does not let") as caught:
            await client.put_manifest(image, MANIFEST + b" ", OCI)
        assert caught.value.status == 412
        assert "immutable" in caught.value.advice


async def test_a_put_on_a_connection_that_was_closed_meanwhile_is_sent_on_another(
    pushable_registry: FakeRegistry,
) -> None:
    pushable_registry.fail("/manifests/", Close(), method="PUT")
    pushable_registry.pushes.complete = False  # type: ignore[union-attr]
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), MANIFEST, OCI)).digest == Digest.of(MANIFEST)
    assert len(pushable_registry.asked("/manifests/")) == 2


async def test_a_registry_that_can_only_be_read(fake_registry: FakeRegistry) -> None:
    async with client_of(fake_registry.address) as client:
        image = image_at(fake_registry)
        with pytest.raises(RegistryError, match="takes no pushes") as caught:
            await client.put_manifest(image, MANIFEST, OCI)
        assert (caught.value.status, caught.value.transient) == (405, False)
        with pytest.raises(RegistryError, match="takes no pushes"):
            await client.upload(image, BLOB).send(Lent(DATA))


async def test_a_mount(pushable_registry: FakeRegistry) -> None:
    pushable_registry.content.add_blob("base/one", DATA)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        assert await client.mount_blob(image, BLOB, "base/one") is None
        assert await client.has_blob(image, BLOB)
    [post] = pushable_registry.asked("/uploads/")
    assert post.path == f"/v2/team/app/blobs/uploads/?mount={BLOB.digest}&from=base/one"


@pytest.mark.parametrize("there", [False, True])
async def test_an_upload_that_was_opened_instead_of_a_mount_is_used(
    pushable_registry: FakeRegistry, there: bool
) -> None:
    assert pushable_registry.pushes
    if there:
        pushable_registry.content.add_blob("base/one", DATA)
        pushable_registry.pushes.mounts = False
    pushable_registry.pushes.minimum = 1000
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        upload = await client.mount_blob(image, BLOB, "base/one")
        assert upload
        async with upload:
            await upload.send(Lent(DATA))
        assert await client.has_blob(image, BLOB)
    assert [one.method for one in pushable_registry.asked("/uploads/")] == ["POST", "PUT"]


async def test_an_upload_that_was_opened_instead_of_a_mount_may_be_cancelled(pushable_registry: FakeRegistry) -> None:
    assert pushable_registry.pushes
    async with client_of(pushable_registry.address) as client:
        upload = await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")
        assert upload
        assert pushable_registry.pushes.sessions
        await upload.cancel()
    assert not pushable_registry.pushes.sessions


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405])
async def test_a_mount_that_is_refused_is_an_upload(pushable_registry: FakeRegistry, status: int) -> None:
    pushable_registry.fail("/uploads/.*mount", Status(status), times=None)
    async with client_of(pushable_registry.address) as client:
        image = image_at(pushable_registry)
        upload = await client.mount_blob(image, BLOB, "base/one")
        assert upload
        await upload.send(Lent(DATA))
        assert await client.has_blob(image, BLOB)


async def test_a_mount_may_be_tried_again_later(pushable_registry: FakeRegistry) -> None:
    pushable_registry.fail("/uploads/", Status(503))
    pushable_registry.fail("/uploads/", Close())
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(RegistryError) as refused:
            await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")
        assert refused.value.transient
        with pytest.raises(NetworkError):
            await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")


async def test_a_mount_of_another_digest(pushable_registry: FakeRegistry) -> None:
    headers = {"Docker-Content-Digest": str(Digest.of(b"other"))}
    pushable_registry.fail("/uploads/", Status(201, headers))
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(DigestMismatch):
            await client.mount_blob(image_at(pushable_registry), BLOB, "base/one")


async def test_tokens_have_the_scopes_of_what_is_done() -> None:
    tokens = TokenServer({"me": "pass:word"})
    async with fake_registry(auth=tokens, pushable=True) as registry, client_of(registry.address, "me") as client:
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


async def test_a_token_that_ends_in_the_middle_of_an_upload_is_renewed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar_async.registry.uploads._PIECE", 10_000)
    tokens = TokenServer({"me": "pass:word"}, uses=2)
    async with fake_registry(auth=tokens, pushable=True) as registry, client_of(registry.address, "me") as client:
        assert registry.pushes
        registry.pushes.minimum = 10_000
        lent = Lent(DATA, 4000)
        async with client.upload(image_at(registry), BLOB) as upload:
            await upload.send(lent)
        assert await client.has_blob(image_at(registry), BLOB)
    assert len(tokens.requests) == 4
    assert lent.settled


async def test_who_may_only_pull_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    async with fake_registry(auth=TokenServer(), pushable=True) as registry, client_of(registry.address) as client:
        with pytest.raises(Unauthorized, match="no credentials") as caught:
            await client.upload(image_at(registry), BLOB).send(Lent(DATA))
    assert "DEST_USERNAME" in caught.value.advice


async def test_ping_tells_whether_credentials_were_wanted() -> None:
    for auth, wanted in ((Basic({"me": "pass:word"}), True), (TokenServer({"me": "pass:word"}), True), (None, False)):
        async with fake_registry(auth=auth) as registry, client_of(registry.address, "me") as client:
            assert await client.ping(registry.address) == wanted
            if isinstance(auth, TokenServer):
                assert [request.scopes for request in auth.requests] == [()]


@pytest.mark.parametrize("kind", [Basic, TokenServer])
async def test_ping_with_a_wrong_password(kind: type[Basic | TokenServer]) -> None:
    async with fake_registry(auth=kind({"me": "other"})) as registry, client_of(registry.address, "me") as client:
        with pytest.raises(Unauthorized) as caught:
            await client.ping(registry.address)
    assert "pass:word" not in f"{caught.value} {caught.value!r}"


async def test_ping_without_credentials_where_some_are_wanted() -> None:
    async with fake_registry(auth=Basic({"me": "x"})) as registry, client_of(registry.address) as client:
        with pytest.raises(Unauthorized, match="no credentials"):
            await client.ping(registry.address)


@pytest.mark.parametrize(
    "answer",
    [web.Response(status=404), web.Response(text="<html>welcome", content_type="text/html")],
    ids=["404", "page"],
)
async def test_what_is_no_registry(answer: web.Response) -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(status=answer.status, text=answer.text, content_type=answer.content_type)

    async with served(page) as host, client_of(host.host) as client:
        with pytest.raises(NotFound, match="is no registry"):
            await client.ping(host.host)


async def test_ping_where_nobody_is() -> None:
    async with fake_registry() as registry:
        pass
    async with client_of(registry.address) as client:
        with pytest.raises(NetworkError):
            await client.ping(registry.address)
