from __future__ import annotations

import gzip
import json
from collections.abc import Mapping

import pytest
from hypothesis import given, strategies as st
from multidict import CIMultiDict

import hangar_async
from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, RegistryError, Unauthorized
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.manifests import Quota, ServedManifest
from tests.fakes.auth import TokenServer
from tests.fakes.faults import Close, Headers, Status
from tests.fakes.registry import FakeRegistry, answering, fake_registry
from tests.registry.rig import LOGIN, MANIFEST, OCI, client_of, describe, get_manifest, image_at, manifest_server


@pytest.mark.parametrize(
    ("limit", "remaining", "quota"),
    [
        ("100;w=21600", "76;w=21600", Quota(76, 100, 21600)),
        ("200 ; w = 60; burst=3", "0", Quota(0, 200, 60)),
        ("5", "5;policy", Quota(5, 5, 0)),
        ("", "76;w=21600", None),
        ("100;w=21600", "many", None),
        ("-1", "3", None),
        ("٣", "3", None),
    ],
)
def test_a_quota_is_read_from_its_headers(limit: str, remaining: str, quota: Quota | None) -> None:
    assert Quota.parse(CIMultiDict({"RateLimit-Limit": limit, "RateLimit-Remaining": remaining})) == quota


def test_no_quota_is_read_where_no_header_tells_one() -> None:
    assert Quota.parse({}) is None


@given(st.text(), st.text())
def test_any_text_is_a_quota_or_none(limit: str, remaining: str) -> None:
    Quota.parse({"ratelimit-limit": limit, "ratelimit-remaining": remaining})


async def test_a_manifest_comes_as_it_was_served() -> None:
    raw = b' \n{"schemaVersion": 2}\t'
    found, registry = await get_manifest(manifest_server(raw), "team/app:v1")
    assert found == ServedManifest(raw, OCI, Digest.of(raw))
    [request] = registry.asked("manifests")
    assert request.path == "/v2/team/app/manifests/v1"
    assert request.headers["Accept"] == media_types.ACCEPT
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["User-Agent"] == f"hangar_async/{hangar_async.__version__}"
    assert not {"Authorization", "Cookie", "Range"} & set(request.headers)


@pytest.mark.parametrize("raw", [gzip.compress(MANIFEST), b"", b"\xff"])
async def test_a_manifest_of_a_tag_that_is_encoded_is_refused_with_the_encoding(raw: bytes) -> None:
    """Nothing tells which digest it should have."""
    with pytest.raises(ContentError, match=r"Content-Encoding 'gzip'\) is no JSON"):
        await get_manifest(manifest_server(raw, Content_Encoding="gzip"), "team/app:v1")


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 200, Descriptor(OCI, Digest.of(MANIFEST), len(MANIFEST))),
        ({}, 200, None),
        ({"Docker_Content_Digest": "sha256:0"}, 200, None),
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 404, None),
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 410, None),
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 405, None),
    ],
)
async def test_a_head_without_get_returns_what_its_headers_tell(
    headers: dict[str, str], status: int, told: Descriptor | None
) -> None:
    quotas: list[tuple[str, Quota]] = []
    answer = manifest_server(MANIFEST, status, RateLimit_Limit="100;w=60", RateLimit_Remaining="99", **headers)
    async with (
        answering(answer) as registry,
        RegistryClient(RegistrySettings(), quota=lambda host, quota: quotas.append((host, quota))) as client,
    ):
        assert await client.head_manifest(Reference.parse(f"{registry.address}/team/app:v1"), get=False) == told
    assert [request.method for request in registry.asked("manifests")] == ["HEAD"]
    assert quotas == [(registry.address, Quota(99, 100, 60))]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_digest_is_asked_for_and_compared(algorithm: str) -> None:
    digest = Digest.of(MANIFEST, algorithm)
    found, registry = await get_manifest(manifest_server(), "app:v1", digest)
    assert found.digest == digest
    assert registry.asked("manifests")[0].path.endswith(f"/manifests/{digest}")


async def test_the_digest_of_a_reference_wins_over_its_tag() -> None:
    digest = Digest.of(MANIFEST)
    found, registry = await get_manifest(manifest_server(), f"app:v1@{digest}")
    assert found.digest == digest
    assert registry.asked("manifests")[0].path.endswith(f"/manifests/{digest}")


async def test_other_bytes_than_asked_for_are_refused() -> None:
    wanted = Digest.of(b"other")
    with pytest.raises(DigestMismatch) as caught:
        await get_manifest(manifest_server(), "app:v1", wanted)
    assert caught.value.digest == str(wanted)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_digest_header_that_contradicts_the_bytes_is_refused(algorithm: str) -> None:
    with pytest.raises(DigestMismatch):
        await get_manifest(manifest_server(Docker_Content_Digest=str(Digest.of(b"other", algorithm))))


@pytest.mark.parametrize("told", ["", "md5:123", "nonsense", "sha256:" + "A" * 64])
async def test_a_malformed_digest_header_is_ignored(told: str) -> None:
    found, _ = await get_manifest(manifest_server(Docker_Content_Digest=told))
    assert found.digest == Digest.of(MANIFEST)


async def test_a_manifest_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    largest = b"{" + b" " * (MAX_DOCUMENT - 2) + b"}"
    found, _ = await get_manifest(manifest_server(largest))
    assert len(found.raw) == MAX_DOCUMENT
    with pytest.raises(ContentError, match="larger than"):
        await get_manifest(manifest_server(largest + b" "))


@pytest.mark.parametrize(
    "fault",
    [
        Headers({"Docker-Content-Digest": None}),
        Headers({"Docker-Content-Digest": "nonsense"}),
        Headers({"Content-Length": None}),
        Status(405),
    ],
)
async def test_a_head_without_digest_is_followed_by_a_get(fake_registry: FakeRegistry, fault: Headers) -> None:
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


async def test_a_head_with_another_digest_is_refused(fake_registry: FakeRegistry) -> None:
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


async def test_a_manifest_of_the_largest_size_is_pushed(pushable_registry: FakeRegistry) -> None:
    raw = b"{" + b" " * ((4 << 20) - 2) + b"}"
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), raw, OCI)).digest == Digest.of(raw)


async def test_a_manifest_of_another_digest_is_not_pushed(pushable_registry: FakeRegistry) -> None:
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
async def test_a_pushed_manifest_under_another_digest_is_refused(
    pushable_registry: FakeRegistry, headers: Mapping[str, str]
) -> None:
    pushable_registry.fail("/manifests/", Status(201, headers))
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(DigestMismatch, match="under another digest"):
            await client.put_manifest(image_at(pushable_registry), MANIFEST, OCI)


@pytest.mark.parametrize("headers", [{}, {"Location": "/v2/team/app/manifests/v1"}, {"Docker-Content-Digest": "x"}])
@pytest.mark.parametrize("status", [200, 201, 202, 204])
async def test_a_response_to_a_push_needs_no_headers(
    pushable_registry: FakeRegistry, headers: Mapping[str, str], status: int
) -> None:
    pushable_registry.fail("/manifests/", Status(status, headers))
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), MANIFEST, OCI)).digest == Digest.of(MANIFEST)


async def test_the_subject_of_a_pushed_referrer_is_returned(pushable_registry: FakeRegistry) -> None:
    subject = describe(b"an image")
    raw = json.dumps({"schemaVersion": 2, "subject": subject.to_json(), "layers": []}).encode()
    async with client_of(pushable_registry.address) as client:
        assert (await client.put_manifest(image_at(pushable_registry), raw, OCI)).subject == subject.digest


def error_list(*codes: str) -> bytes:
    return json.dumps({"errors": [{"code": code, "message": "no"} for code in codes]}).encode()


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"artifactType": "application/x-list"}, "artifacts of the type 'application/x-list'"),
        ({}, "artifacts of the type 'application/x-config'"),
    ],
)
async def test_a_registry_without_artifacts_is_told_as_such(
    changes: dict[str, str], kind: str, pushable_registry: FakeRegistry
) -> None:
    config = describe(b"{}", media_type="application/x-config").to_json()
    raw = json.dumps({"schemaVersion": 2, "config": config, "layers": [], **changes}).encode()
    pushable_registry.fail("/manifests/", Status(405, body=error_list("UNSUPPORTED")), method="PUT")
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(RegistryError, match=f"takes no {kind}: UNSUPPORTED: no"):
            await client.put_manifest(image_at(pushable_registry), raw, OCI)


async def test_layers_that_stay_elsewhere_are_the_cause_where_the_registry_does_not_allow_them(
    pushable_registry: FakeRegistry,
) -> None:
    layer = {**describe(b"x").to_json(), "urls": ["https://mcr.example/layer"]}
    raw = json.dumps({"schemaVersion": 2, "config": describe(b"{}").to_json(), "layers": [layer]}).encode()
    # As Debian's docker-registry answers.
    answer = Status(500, body=error_list("UNKNOWN", "MANIFEST_BLOB_UNKNOWN"))
    pushable_registry.fail("/manifests/", answer, method="PUT")
    async with client_of(pushable_registry.address) as client:
        with pytest.raises(RegistryError, match="stay elsewhere") as caught:
            await client.put_manifest(image_at(pushable_registry), raw, OCI)
    assert caught.value.tries == 1
    assert "mcr.example" in caught.value.advice
    assert "validation.manifests.urls.allow" in caught.value.advice


async def test_an_immutable_tag_takes_the_same_manifest_only(pushable_registry: FakeRegistry) -> None:
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


async def test_a_tag_is_deleted_with_the_rights_for_it() -> None:
    tokens = TokenServer({"me": "pass:word"}, private=frozenset({"team/app"}))
    async with fake_registry(auth=tokens, pushable=True) as registry:
        registry.content.add_manifest("team/app", MANIFEST, OCI, ["one", "two"])
        image = image_at(registry, "team/app:one")
        async with client_of(registry.address, LOGIN) as client:
            assert await client.delete_tag(image)
            assert await registry.content.tags("team/app") == ["two"]
            assert await client.delete_tag(image)
            assert ("repository:team/app:pull,delete",) in [asked.scopes for asked in tokens.requests]
            registry.fail("/manifests/two", Status(403), method="DELETE")
            with pytest.raises(Unauthorized, match=r"denies access to tag .*/team/app:two"):
                await client.delete_tag(image_at(registry, "team/app:two"))


@pytest.mark.parametrize("status", [400, 404, 405, 501])
async def test_a_registry_that_deletes_no_tags(pushable_registry: FakeRegistry, status: int) -> None:
    pushable_registry.content.add_manifest("team/app", MANIFEST, OCI, ["one"])
    pushable_registry.fail("/manifests/one", Status(status), method="DELETE")
    async with client_of(pushable_registry.address) as client:
        assert not await client.delete_tag(image_at(pushable_registry, "team/app:one"))
