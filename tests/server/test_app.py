from __future__ import annotations

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

import aiohttp
import bcrypt
import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.errors import ContentError, ListenError
from hangar_async.oci import PIECE, media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.server import app as module
from hangar_async.server.app import page, serving
from hangar_async.server.htpasswd import TooManyChecks, Users
from hangar_async.server.page import Page
from hangar_async.server.responses import byte_range
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent
from tests.server.rig import DATA, HASHES, ask

NAMES = ["1.0", "1.1", "2.0", "latest"]


def follow(names: list[str], query: dict[str, str]) -> list[list[str]]:
    """Follow the links from page to page."""
    pages = []
    while True:
        chosen, headers = page(names, query, "/v2/app/tags/list")
        pages.append(chosen)
        if not headers:
            return pages
        target, relation = headers["Link"].split("; ")
        assert relation == 'rel="next"'
        assert target.startswith("</v2/app/tags/list?")
        parts = parse_qs(urlsplit(target[1:-1]).query, strict_parsing=True)
        query = {name: value for name, (value,) in parts.items()}


def test_pages() -> None:
    assert follow(NAMES, {}) == [NAMES]
    assert follow(NAMES, {"n": "3"}) == [NAMES[:3], NAMES[3:]]
    assert follow(NAMES, {"n": "2"}) == [NAMES[:2], NAMES[2:]]
    assert follow(NAMES, {"n": "0"}) == [[]]
    assert follow(NAMES, {"last": "1.1"}) == [NAMES[2:]]
    assert follow(NAMES, {"last": "1.5"}) == [NAMES[2:]]
    assert follow(NAMES, {"n": "9", "last": "zzz"}) == [[]]
    assert follow([], {"n": "2"}) == [[]]


def test_the_rest_of_the_query_stays() -> None:
    _, headers = page(NAMES, {"n": "1", "ns": "docker.io&x=1"}, "/p")
    assert headers["Link"] == '</p?n=1&ns=docker.io%26x%3D1&last=1.0>; rel="next"'


def test_a_query_that_is_not_utf_8_stays_in_the_link() -> None:
    _, headers = page(NAMES, {"n": "1", "ns": "\udcff"}, "/p")
    assert headers["Link"] == '</p?n=1&ns=%FF&last=1.0>; rel="next"'


def test_a_response_has_a_bounded_number_of_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MOST_NAMES", 3)
    for query in ({}, {"n": "4"}):
        assert follow(NAMES, query) == [NAMES[:3], NAMES[3:]]


@pytest.mark.parametrize("count", ["-1", "x", "", "9" * 30, "²", "1.5", " 1"])
def test_a_number_that_is_none(count: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        page(NAMES, {"n": count}, "/p")


@given(st.sets(st.text("abAB01._-", min_size=1, max_size=6), max_size=30), st.integers(1, 40))
def test_all_names_come_once_and_in_order(names: set[str], count: int) -> None:
    listed = sorted(names)
    pages = follow(listed, {"n": str(count)})
    assert [name for one in pages for name in one] == listed
    assert all(len(one) == count for one in pages[:-1])
    assert 0 < len(pages[-1]) <= count or not listed


@given(st.sets(st.text("abAB01._-", min_size=1, max_size=6), max_size=30), st.text("abAB01._-", max_size=6))
def test_last_need_not_be_a_name(names: set[str], last: str) -> None:
    chosen, _ = page(sorted(names), {"last": last}, "/p")
    assert chosen == sorted(name for name in names if name > last)


ABSENT = f"sha256:{'0' * 64}"


async def test_the_version_is_said(client: aiohttp.ClientSession) -> None:
    for path in ("/v2/", "/v2"):
        async with client.get(path) as answer:
            assert answer.status == 200
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
            assert await answer.json() == {}


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_manifests_by_tag_and_digest(
    client: aiohttp.ClientSession, images: Mapping[str, Built], method: str
) -> None:
    built = images["multi"]
    known = {"latest": built.digest, **{str(digest): digest for digest in built.documents}}
    for reference, digest in known.items():
        media_type, raw = built.documents[digest]
        async with client.request(method, f"/v2/team/app/manifests/{reference}") as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == media_type
            assert answer.headers["Content-Length"] == str(len(raw))
            assert answer.headers["Docker-Content-Digest"] == str(digest)
            assert answer.headers["ETag"] == f'"{digest}"'
            assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
            assert await answer.read() == (raw if method == "GET" else b"")


@pytest.mark.parametrize("data", [DATA, b""])
async def test_blobs(client: aiohttp.ClientSession, data: bytes) -> None:
    path = f"/v2/team/app/blobs/{Digest.of(data)}"
    async with client.get(path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "application/octet-stream"
        assert answer.headers["Docker-Content-Digest"] == str(Digest.of(data))
        assert answer.headers["Accept-Ranges"] == "bytes"
        assert answer.content_length == len(data)
        assert await answer.read() == data
    async with client.head(path) as answer:
        assert (answer.status, answer.content_length) == (200, len(data))


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-", 0, len(DATA)),
        ("bytes=0-0", 0, 1),
        (f"bytes={PIECE - 1}-{PIECE}", PIECE - 1, PIECE + 1),
        (f"bytes={len(DATA) - 1}-", len(DATA) - 1, len(DATA)),
        ("bytes=5-99999999999", 5, len(DATA)),
        ("bytes=-3", len(DATA) - 3, len(DATA)),
        ("bytes=-99999999999", 0, len(DATA)),
        ("Bytes= 7-8 ", 7, 9),
    ],
)
async def test_ranges(client: aiohttp.ClientSession, asked: str, start: int, stop: int) -> None:
    async with client.get(f"/v2/team/app/blobs/{Digest.of(DATA)}", headers={"Range": asked}) as answer:
        assert answer.status == 206
        assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{len(DATA)}"
        assert answer.content_length == stop - start
        assert await answer.read() == DATA[start:stop]


@pytest.mark.parametrize(
    "headers",
    [
        {"Range": "bytes=9-5"},
        {"Range": "bytes=-"},
        {"Range": "bytes=0-1,5-6"},
        {"Range": "lines=0-1"},
        {"Range": "bytes=" + "9" * 5000 + "-"},
        {"Range": "bytes=²-"},
        {"Range": "bytes=0-1", "If-Range": '"something else"'},
    ],
)
async def test_ranges_that_mean_the_whole(client: aiohttp.ClientSession, headers: Mapping[str, str]) -> None:
    async with client.get(f"/v2/team/app/blobs/{Digest.of(DATA)}", headers=headers) as answer:
        assert answer.status == 200
        assert "Content-Range" not in answer.headers
        assert await answer.read() == DATA


async def test_a_range_of_what_has_not_changed(client: aiohttp.ClientSession) -> None:
    digest = Digest.of(DATA)
    headers = {"Range": "bytes=2-3", "If-Range": f'"{digest}"'}
    async with client.get(f"/v2/team/app/blobs/{digest}", headers=headers) as answer:
        assert (answer.status, await answer.read()) == (206, DATA[2:4])
    # A range is for GET alone.
    async with client.head(f"/v2/team/app/blobs/{digest}", headers=headers) as answer:
        assert (answer.status, answer.content_length) == (200, len(DATA))


@pytest.mark.parametrize(("data", "asked"), [(DATA, f"bytes={len(DATA)}-"), (DATA, "bytes=-0"), (b"", "bytes=0-")])
async def test_ranges_outside(client: aiohttp.ClientSession, data: bytes, asked: str) -> None:
    async with client.get(f"/v2/team/app/blobs/{Digest.of(data)}", headers={"Range": asked}) as answer:
        assert answer.status == 416
        assert answer.headers["Content-Range"] == f"bytes */{len(data)}"
        assert await code(answer) == "RANGE_INVALID"


@given(st.text("bytes=0123456789- ,", max_size=30) | st.from_regex(r"bytes=[0-9]{0,3}-[0-9]{0,3}"), st.integers(0, 50))
def test_any_range_lies_within(text: str, size: int) -> None:
    try:
        found = byte_range(text, size)
    except ValueError:
        return
    assert found is None or 0 <= found[0] < found[1] <= size


async def test_content_of_the_client_is_not_sent(client: aiohttp.ClientSession) -> None:
    digest = Digest.of(DATA)
    for known in (f'"{digest}"', f'"x", W/"{digest}"', "*"):
        async with client.get(f"/v2/team/app/blobs/{digest}", headers={"If-None-Match": known}) as answer:
            assert (answer.status, answer.headers["ETag"]) == (304, f'"{digest}"')
            assert await answer.read() == b""


@pytest.mark.parametrize(
    ("method", "path", "status", "error"),
    [
        ("GET", "/v2/gone/manifests/latest", 404, "NAME_UNKNOWN"),
        ("GET", f"/v2/gone/blobs/{ABSENT}", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/gone/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/team/app/manifests/gone", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/team/app/manifests/.no-tag", 404, "MANIFEST_UNKNOWN"),
        ("GET", f"/v2/team/app/manifests/{ABSENT}", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/team/app/manifests/sha256:short", 400, "DIGEST_INVALID"),
        ("GET", f"/v2/team/app/blobs/{ABSENT}", 404, "BLOB_UNKNOWN"),
        ("GET", f"/v2/other/blobs/{Digest.of(DATA)}", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/team/app/blobs/sha256:short", 400, "DIGEST_INVALID"),
        ("GET", "/v2/team/app/blobs/md5:00", 400, "DIGEST_INVALID"),
        ("GET", "/v2/Team/App/manifests/latest", 400, "NAME_INVALID"),
        ("GET", "/v2/team//app/manifests/latest", 400, "NAME_INVALID"),
        ("GET", "/v2/a%2f..%2fetc/tags/list", 400, "NAME_INVALID"),
        ("GET", "/v2/team/app/elsewhere", 404, "NAME_UNKNOWN"),
        ("GET", f"/v2/gone/referrers/{ABSENT}", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/team/app/referrers/sha256:short", 400, "DIGEST_INVALID"),
        ("GET", "/v2/Team/referrers/latest", 400, "NAME_INVALID"),
        ("GET", "/v2/reg.example.com:5000/team/app/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", "/v2/reg.example.com:x/team/app/tags/list", 400, "NAME_INVALID"),
        ("GET", "/", 404, "NAME_UNKNOWN"),
        ("POST", "/v2/team/app/blobs/uploads/", 405, "UNSUPPORTED"),
        ("PUT", "/v2/team/app/manifests/latest", 405, "UNSUPPORTED"),
        ("DELETE", "/v2/team/app/manifests/latest", 405, "UNSUPPORTED"),
    ],
)
async def test_errors_are_the_specification_s(
    client: aiohttp.ClientSession, method: str, path: str, status: int, error: str
) -> None:
    async with client.request(method, path) as answer:
        assert answer.status == status
        assert answer.content_type == "application/json"
        assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
        assert await code(answer) == error


async def test_tags_in_pages(client: aiohttp.ClientSession) -> None:
    assert await pages(client, "/v2/team/app/tags/list", "tags") == [["1.0", "1.1", "2.0", "latest"]]
    assert await pages(client, "/v2/team/app/tags/list?n=3", "tags") == [["1.0", "1.1", "2.0"], ["latest"]]
    assert await pages(client, "/v2/team/app/tags/list?n=2", "tags") == [["1.0", "1.1"], ["2.0", "latest"]]
    assert await pages(client, "/v2/team/app/tags/list?n=0", "tags") == [[]]
    assert await pages(client, "/v2/team/app/tags/list?last=1.1", "tags") == [["2.0", "latest"]]
    assert await pages(client, "/v2/team/app/tags/list?n=9&last=zzz", "tags") == [[]]


async def test_repositories_in_pages(client: aiohttp.ClientSession) -> None:
    assert await pages(client, "/v2/_catalog", "repositories") == [["other", "team/app"]]
    assert await pages(client, "/v2/_catalog?n=1", "repositories") == [["other"], ["team/app"]]
    # What a mirror is asked for stays in the links.
    assert await pages(client, "/v2/_catalog?n=1&ns=docker.io", "repositories") == [["other"], ["team/app"]]


async def test_users_alone_are_answered(content: MemoryContent) -> None:
    users = Users({"one": bcrypt.hashpw(b"pass", bcrypt.gensalt(4))})
    page = Page("x", [])
    wrong, right = (aiohttp.encode_basic_auth("one", password) for password in ("wrong", "pass"))
    async with (
        serving(content, users=users, page=page) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        for path in ("/v2/", "/", "/v2/team/app/manifests/latest", "/v2/gone/manifests/latest", "/nowhere"):
            for headers in ({}, {"Authorization": wrong}):
                async with session.get(path, headers=headers) as answer:
                    assert (answer.status, await code(answer)) == (401, "UNAUTHORIZED")
                    assert answer.headers["WWW-Authenticate"] == 'Basic realm="hangar_async", charset="UTF-8"'
                    assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
            async with session.get(path, headers={"Authorization": right}) as answer:
                assert answer.status == (404 if "gone" in path or "nowhere" in path else 200)


async def test_too_many_passwords_are_told(content: MemoryContent) -> None:
    class Flooded(Users):
        async def know(self, authorization: str, address: str = "") -> bool:
            assert address == "127.0.0.1"
            raise TooManyChecks

    users = Flooded({"one": HASHES[0]})
    async with (
        serving(content, users=users) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
        session.get("/v2/") as answer,
    ):
        assert (answer.status, answer.headers["Retry-After"]) == (429, "1")
        assert await code(answer) == "TOOMANYREQUESTS"


async def test_referrers(client: aiohttp.ClientSession, content: MemoryContent, images: Mapping[str, Built]) -> None:
    subject = images["multi"].descriptor.to_json()
    raw = [
        json.dumps(json.loads(images["artifact"].raw) | {"subject": subject, "artifactType": kind}).encode()
        for kind in ("application/vnd.example.sbom", "application/vnd.example.signature")
    ]
    digests = [content.add_manifest("team/app", one, images["artifact"].media_type) for one in raw]
    path = f"/v2/team/app/referrers/{images['multi'].digest}"
    for query, expected in (
        ("", digests),
        ("?artifactType=application/vnd.example.sbom", digests[:1]),
        ("?artifactType=none", []),
    ):
        async with client.get(path + query) as answer:
            assert answer.status == 200
            assert answer.headers["Content-Type"] == media_types.OCI_INDEX
            assert answer.headers.get("OCI-Filters-Applied") == ("artifactType" if query else None)
            document = json.loads(await answer.read())
        assert (document["schemaVersion"], document["mediaType"]) == (2, media_types.OCI_INDEX)
        assert [one["digest"] for one in document["manifests"]] == [str(digest) for digest in expected]
    async with client.get(f"/v2/other/referrers/{ABSENT}") as answer:
        assert (answer.status, json.loads(await answer.read())["manifests"]) == (200, [])


@pytest.mark.parametrize("count", ["-1", "x", "", "9" * 30, "²"])
async def test_a_page_size_that_is_none(client: aiohttp.ClientSession, count: str) -> None:
    async with client.get("/v2/_catalog", params={"n": count}) as answer:
        assert (answer.status, await code(answer)) == (400, "PAGINATION_NUMBER_INVALID")


async def test_over_tls(content: MemoryContent, server_tls: ssl.SSLContext, client_tls: ssl.SSLContext) -> None:
    async with (
        serving(content, tls=server_tls) as address,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=client_tls)) as session,
        session.get(f"https://{address}/v2/") as answer,
    ):
        assert answer.status == 200


async def test_the_port_is_closed_at_the_end(content: MemoryContent) -> None:
    async with serving(content) as address:
        host, port = address.split(":")
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection(host, int(port))


async def test_an_address_of_ip_6(content: MemoryContent) -> None:
    try:
        async with serving(content, "::1") as address:
            assert address.startswith("[::1]:")
    except ListenError:
        pytest.skip("this machine has no IPv6")


class Endless(MemoryContent):
    """Content that never ends, and tells when a reading is over."""

    def __init__(self) -> None:
        super().__init__()
        self.over = asyncio.Event()

    async def size(self, repository: str, digest: Digest) -> int | None:
        return 1 << 50

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        try:
            while True:
                yield bytes(PIECE)
        finally:
            self.over.set()


async def test_a_client_that_goes_ends_the_reading() -> None:
    content = Endless()
    async with serving(content) as address, aiohttp.ClientSession() as session:
        async with session.get(f"http://{address}/v2/a/blobs/{ABSENT}") as answer:
            await answer.content.readexactly(5 * PIECE)
            answer.close()
        await content.over.wait()


async def test_the_end_of_the_server_ends_the_reading() -> None:
    content = Endless()
    async with aiohttp.ClientSession() as session:
        async with serving(content, grace=0.01) as address:
            answer = await session.get(f"http://{address}/v2/a/blobs/{ABSENT}")
            await answer.content.readexactly(PIECE)
        assert content.over.is_set()
        answer.close()


class Broken(MemoryContent):
    """Content that cannot be read to its end."""

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        async for piece in super().read(digest, start, stop):
            yield piece
            raise OSError("the disk is gone")


class Damaged(MemoryContent):
    """Content of which so many pieces can be read."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor | None:
        raise ContentError("the index is damaged")

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        left = self.pieces
        async for piece in super().read(digest, start, stop):
            if not left:
                raise ContentError("the blob is damaged", digest=str(digest))
            left -= 1
            yield piece


async def test_damaged_content_is_an_error_and_reported() -> None:
    content, told = Damaged(0), list[str]()
    digest = content.add_blob("a", DATA)
    async with (
        serving(content, failed=lambda error: told.append(str(error))) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        headers = {"Range": "bytes=1-"}
        for path in (f"/v2/a/blobs/{digest}", "/v2/a/manifests/1"):
            async with session.get(path, headers=headers) as answer:
                assert (answer.status, await code(answer)) == (500, "UNKNOWN")
                assert answer.content_type == "application/json"
                assert answer.headers["Docker-Distribution-Api-Version"] == "registry/2.0"
                assert not {"ETag", "Docker-Content-Digest", "Content-Range"}.intersection(answer.headers)
                assert "damaged" not in await answer.text()
        async with session.head(f"/v2/a/blobs/{digest}") as answer:
            assert (answer.status, answer.content_length) == (200, len(DATA))
    assert told == ["the blob is damaged", "the index is damaged"]


async def test_content_damaged_in_the_middle_ends_too_early() -> None:
    content, told = Damaged(2), list[str]()
    digest = content.add_blob("a", DATA)
    async with (
        serving(content, failed=lambda error: told.append(str(error))) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        for _ in range(2):
            async with session.get(f"/v2/a/blobs/{digest}") as answer:
                assert answer.status == 200
                assert await answer.content.readexactly(2 * PIECE) == DATA[: 2 * PIECE]
                with pytest.raises(aiohttp.ClientPayloadError):
                    await answer.content.read()
    assert told == ["the blob is damaged"] * 2


class Faulty(MemoryContent):
    """Content with a fault of ours."""

    async def tags(self, repository: str) -> Sequence[str] | None:
        raise KeyError("gone")


async def test_a_fault_of_ours_is_an_answer_too(caplog: pytest.LogCaptureFixture) -> None:
    told: list[str] = []
    async with (
        serving(Faulty(), failed=lambda error: told.append(str(error))) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
    ):
        for _ in range(2):
            async with session.get("/v2/a/tags/list") as answer:
                assert (answer.status, await code(answer)) == (500, "UNKNOWN")
    assert told == ["unexpected KeyError: 'gone'"] * 2
    assert "Traceback" in caplog.text


class Short(MemoryContent):
    """Content that is smaller than it says."""

    async def size(self, repository: str, digest: Digest) -> int | None:
        return (await super().size(repository, digest) or 0) + 1


async def test_content_that_is_shorter_than_its_size_is_no_good_answer() -> None:
    content = Short()
    digest = content.add_blob("a", DATA)
    async with (
        serving(content) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
        session.get(f"/v2/a/blobs/{digest}") as answer,
    ):
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.read()


async def test_a_failure_in_the_middle_ends_the_answer_short(caplog: pytest.LogCaptureFixture) -> None:
    content = Broken()
    digest = content.add_blob("a", DATA)
    async with serving(content) as address, aiohttp.ClientSession(f"http://{address}") as session:
        async with session.get(f"/v2/a/blobs/{digest}") as answer:
            assert answer.status == 200
            with pytest.raises(aiohttp.ClientPayloadError):
                await answer.read()
        async with session.get("/v2/") as answer:
            assert answer.status == 200
    assert "the disk is gone" in caplog.text


async def code(answer: aiohttp.ClientResponse) -> str:
    document: dict[str, Any] = json.loads(await answer.read())
    (error,) = document["errors"]
    assert set(error) == {"code", "message", "detail"}
    return str(error["code"])


async def pages(client: aiohttp.ClientSession, path: str, key: str) -> list[list[str]]:
    """Follow the links from page to page."""
    found = []
    while path:
        async with client.get(path) as answer:
            assert answer.status == 200
            found.append((await answer.json())[key])
            path = str(URL(answer.links["next"]["url"]).relative()) if "next" in answer.links else ""
    return found


PATHS = [
    "/",
    "/v2/",
    "/v2/_catalog",
    "/v2/team/app/tags/list",
    "/v2/team/app/tags/list?n=2",
    "/v2/team/app/tags/list?n=x",
    "/v2/team/app/manifests/latest",
    "/v2/team/app/manifests/gone",
    f"/v2/team/app/blobs/{Digest.of(DATA)}",
    f"/v2/team/app/blobs/{Digest.of(b'')}",
    f"/v2/team/app/blobs/{ABSENT}",
    "/v2/team/app/blobs/nonsense",
    f"/v2/team/app/referrers/{ABSENT}",
    "/v2/TEAM/tags/list",
    "/v2/gone/tags/list",
    "/nowhere",
]


@pytest.mark.parametrize("path", PATHS)
async def test_head_is_get_without_its_body(content: MemoryContent, path: str) -> None:
    async with (
        serving(content, page=Page("x", [])) as address,
        aiohttp.ClientSession(f"http://{address}") as session,
        session.get(path) as whole,
        session.head(path) as head,
    ):
        assert head.status == whole.status
        ignored = {"Date", "Transfer-Encoding"}
        assert {name: value for name, value in head.headers.items() if name not in ignored} == {
            name: value for name, value in whole.headers.items() if name not in ignored
        }
        assert await head.read() == b""


@pytest.mark.parametrize(
    "path",
    [
        "/%",
        "/%zz",
        "/%00",
        "/v2/%2e%2e/%2e%2e/etc/passwd",
        "/v2/../../etc/passwd",
        "/v2/%ff/tags/list",
        "/v2/team%2fapp/tags/list",
        "/v2/team/app/tags/list?last=%ff&n=%32",
        "/v2/_catalog?ns=%ff%00&last=%ed%a0%80&n=1",
        "/v2/_catalog?ns=" + "[" * 4000,
        "/v2/" + "a/" * 4000 + "tags/list",
        "/v2/" + "/manifests" * 800,
        "/v2/team/app/manifests/" + "%f0%9f%90%b3" * 600,
        "/v2/team/app/blobs/sha256:" + "%30" * 64,
        f"/v2/team/app/referrers/{ABSENT}?artifactType=%ff%fe",
        "/v2/%25%32%35/manifests/x",
        "//v2//",
        "http://elsewhere/v2/",
        "/v2/?" + "a=1&" * 2000,
    ],
)
async def test_nonsense_in_an_address_is_no_fault(content: MemoryContent, path: str) -> None:
    failures: list[Exception] = []
    async with serving(content, failed=failures.append) as address:
        answer = await ask(address, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    assert answer.split()[1] in (b"200", b"400", b"404")
    assert failures == []
    assert len(answer) < 20_000


@pytest.mark.parametrize("ranges", [",".join(f"{number}-{number}" for number in range(700)), "0-," * 2000, "-" * 8000])
async def test_a_long_list_of_ranges_is_the_whole_content(client: aiohttp.ClientSession, ranges: str) -> None:
    headers = {"Range": f"bytes={ranges}"}
    async with client.get(f"/v2/team/app/blobs/{Digest.of(DATA)}", headers=headers) as answer:
        assert (answer.status, await answer.read()) == (200, DATA)
