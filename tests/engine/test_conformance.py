"""What a client of the OCI distribution-spec 1.1 may ask of a registry that can be read, one test each.

The categories "Pull" and "Content Discovery"; the registry is an archive in parts that is served.
"""

from __future__ import annotations

import json
from typing import Any

import pytest

from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from tests.engine.served import REFERRER, Client, Site, pages

NGINX = "docker.io/library/nginx:1.27"
ABSENT = f"sha256:{'0' * 64}"
BOTH = pytest.mark.parametrize("method", ["GET", "HEAD"])
#: "Error Codes".
CODES = {
    "BLOB_UNKNOWN", "BLOB_UPLOAD_INVALID", "BLOB_UPLOAD_UNKNOWN", "DIGEST_INVALID", "MANIFEST_BLOB_UNKNOWN",
    "MANIFEST_INVALID", "MANIFEST_UNKNOWN", "NAME_INVALID", "NAME_UNKNOWN", "SIZE_INVALID", "UNAUTHORIZED", "DENIED",
    "UNSUPPORTED", "TOOMANYREQUESTS",
}  # fmt: skip


async def test_the_base_says_that_the_protocol_is_spoken(client: Client) -> None:
    """Determining support: end-1 answers 200."""
    answer, raw = await client.get("/v2/")
    assert (answer.status, answer.content_type, json.loads(raw)) == (200, "application/json", {})


@BOTH
async def test_a_blob_that_is_there(client: Client, site: Site, method: str) -> None:
    for digest, data in site.built[NGINX].blobs.items():
        answer, raw = await client.get(f"/v2/library/nginx/blobs/{digest}", method)
        assert answer.status == 200
        assert answer.headers["Content-Length"] == str(len(data))
        assert answer.headers["Docker-Content-Digest"] == str(digest)
        assert raw == (data if method == "GET" else b"")


@BOTH
async def test_a_blob_that_is_not_there(client: Client, method: str) -> None:
    answer, _ = await client.get(f"/v2/library/nginx/blobs/{ABSENT}", method)
    assert answer.status == 404


async def test_a_blob_of_another_repository_is_not_there(client: Client, site: Site) -> None:
    digest = next(iter(site.built["reg.example.com:5000/charts/shop:1"].blobs))
    assert await client.code(f"/v2/library/nginx/blobs/{digest}") == (404, "BLOB_UNKNOWN")
    answer, _ = await client.get(f"/v2/charts/shop/blobs/{digest}")
    assert answer.status == 200


async def test_parts_of_a_blob(client: Client, site: Site) -> None:
    """RFC 9110: a registry should support ranges."""
    digest, data = max(site.built[NGINX].blobs.items(), key=lambda one: len(one[1]))
    path = f"/v2/library/nginx/blobs/{digest}"
    for asked, start, stop in (
        ("bytes=0-0", 0, 1),
        ("bytes=0-", 0, len(data)),
        ("bytes=100-70000", 100, 70_001),
        (f"bytes={len(data) - 5}-", len(data) - 5, len(data)),
        ("bytes=-7", len(data) - 7, len(data)),
        (f"bytes=5-{10 * len(data)}", 5, len(data)),
    ):
        answer, raw = await client.get(path, headers={"Range": asked})
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(data)}"
        assert raw == data[start:stop]
    answer, _ = await client.get(path, headers={"Range": f"bytes={len(data)}-"})
    assert (answer.status, answer.headers["Content-Range"]) == (416, f"bytes */{len(data)}")
    answer, _ = await client.get(path, "HEAD", {"Range": "bytes=1-2"})
    assert (answer.status, answer.headers["Accept-Ranges"]) == (200, "bytes")


@BOTH
async def test_a_manifest_by_its_tag(client: Client, site: Site, method: str) -> None:
    for name, built in site.built.items():
        if name == "quay.io/library/nginx:1.27":
            continue  # its name is another's
        repository, _, tag = name.partition("/")[2].rpartition(":")
        answer, raw = await client.get(f"/v2/{repository}/manifests/{tag}", method)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == built.media_type
        assert answer.headers["Docker-Content-Digest"] == str(built.digest)
        assert answer.headers["Content-Length"] == str(len(built.raw))
        assert raw == (built.raw if method == "GET" else b"")


@BOTH
async def test_a_manifest_by_its_digest(client: Client, site: Site, method: str) -> None:
    for name, built in site.built.items():
        repository = name.partition("/")[2].rpartition(":")[0]
        for digest, (kind, data) in built.documents.items():
            answer, raw = await client.get(f"/v2/{repository}/manifests/{digest}", method)
            assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
            assert answer.headers["Docker-Content-Digest"] == str(digest)
            assert raw == (data if method == "GET" else b"")


@BOTH
@pytest.mark.parametrize("reference", ["none", ABSENT, ".nothing", "sha256"])
async def test_a_manifest_that_is_not_there(client: Client, method: str, reference: str) -> None:
    answer, _ = await client.get(f"/v2/library/nginx/manifests/{reference}", method)
    assert answer.status == 404


async def test_what_is_accepted_changes_no_byte(client: Client, site: Site) -> None:
    """A registry may give what is not accepted; one that converts changes the digest."""
    built = site.built["docker.io/library/nginx:latest"]
    for accepted in (media_types.OCI_MANIFEST, "text/html", "*/*", built.media_type):
        answer, raw = await client.get("/v2/library/nginx/manifests/latest", headers={"Accept": accepted})
        assert (answer.status, answer.headers["Content-Type"], raw) == (200, built.media_type, built.raw)


async def test_what_the_client_has_is_not_sent_again(client: Client, site: Site) -> None:
    tag = f'"{site.built[NGINX].digest}"'
    answer, raw = await client.get("/v2/library/nginx/manifests/1.27", headers={"If-None-Match": tag})
    assert (answer.status, answer.headers["ETag"], raw) == (304, tag, b"")


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/v2/none/manifests/1", 404, "NAME_UNKNOWN"),
        ("/v2/none/blobs/" + ABSENT, 404, "NAME_UNKNOWN"),
        ("/v2/none/tags/list", 404, "NAME_UNKNOWN"),
        ("/v2/none/referrers/" + ABSENT, 404, "NAME_UNKNOWN"),
        ("/v2/library/nginx/manifests/none", 404, "MANIFEST_UNKNOWN"),
        ("/v2/library/nginx/manifests/sha256:xyz", 400, "DIGEST_INVALID"),
        ("/v2/library/nginx/blobs/sha256:xyz", 400, "DIGEST_INVALID"),
        ("/v2/library/nginx/referrers/xyz", 400, "DIGEST_INVALID"),
        ("/v2/Library/nginx/manifests/1.27", 400, "NAME_INVALID"),
        ("/v2/library/nginx/anything", 404, "NAME_UNKNOWN"),
        ("/elsewhere", 404, "NAME_UNKNOWN"),
    ],
)
async def test_errors_have_the_form_of_the_specification(client: Client, path: str, status: int, code: str) -> None:
    assert await client.code(path) == (status, code)
    assert code in CODES


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v2/library/nginx/blobs/uploads/"),
        ("PUT", "/v2/library/nginx/manifests/1.27"),
        ("DELETE", "/v2/library/nginx/manifests/1.27"),
        ("PATCH", "/v2/library/nginx/blobs/uploads/1"),
    ],
)
async def test_nothing_can_be_pushed_or_deleted(client: Client, method: str, path: str) -> None:
    assert await client.code(path, method) == (405, "UNSUPPORTED")


async def test_tags_are_listed_in_order(client: Client) -> None:
    found = await client.document("/v2/library/nginx/tags/list")
    assert found == {"name": "library/nginx", "tags": ["1.26", "1.27", "latest", "mainline"]}


async def test_tags_are_listed_in_pages(client: Client) -> None:
    path = "/v2/library/nginx/tags/list"
    assert await pages(client, f"{path}?n=3", "tags") == [["1.26", "1.27", "latest"], ["mainline"]]
    assert await pages(client, f"{path}?n=3&last=1.26", "tags") == [["1.27", "latest", "mainline"]]
    assert await pages(client, f"{path}?n=0", "tags") == [[]]
    assert await client.code(f"{path}?n=x") == (400, "PAGINATION_NUMBER_INVALID")


async def test_repositories_are_listed_in_pages(client: Client) -> None:
    (names,) = await pages(client, "/v2/_catalog", "repositories")
    assert names == sorted(names)
    assert {"library/nginx", "docker.io/library/nginx", "quay.io/library/nginx", "team/app"} <= set(names)
    assert "reg.example.com_5000/team/app" in names
    assert [name for page in await pages(client, "/v2/_catalog?n=2", "repositories") for name in page] == names


async def referrers(client: Client, path: str) -> tuple[list[dict[str, Any]], str | None]:
    answer, raw = await client.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, media_types.OCI_INDEX)
    document = json.loads(raw)
    assert (document["schemaVersion"], document["mediaType"]) == (2, media_types.OCI_INDEX)
    return document["manifests"], answer.headers.get("OCI-Filters-Applied")


async def test_what_nothing_refers_to_has_no_referrers(client: Client, site: Site) -> None:
    """An unknown digest is no error."""
    for digest in (ABSENT, site.built[NGINX].digest):
        assert await referrers(client, f"/v2/library/nginx/referrers/{digest}") == ([], None)


async def test_referrers(client: Client, site: Site) -> None:
    subject, signature, sbom = (site.built[f"ghcr.io/team/signed:{tag}"] for tag in ("1", "signature", "sbom"))
    path = f"/v2/team/signed/referrers/{subject.digest}"
    found, applied = await referrers(client, path)
    assert applied is None
    assert {one["digest"] for one in found} == {str(signature.digest), str(sbom.digest)}
    (one,), applied = await referrers(client, f"{path}?artifactType={REFERRER}")
    assert applied == "artifactType"
    assert one == {
        "mediaType": media_types.OCI_MANIFEST,
        "digest": str(signature.digest),
        "size": len(signature.raw),
        "artifactType": REFERRER,
        "annotations": {"by": "test"},
    }
    answer, raw = await client.get(f"/v2/team/signed/manifests/{one['digest']}")
    assert (answer.status, Digest.of(raw)) == (200, signature.digest)
    assert await referrers(client, f"{path}?artifactType=none") == ([], "artifactType")
