from __future__ import annotations

from collections.abc import Mapping

import aiohttp
import pytest

from hangar_async.errors import InvalidValue
from hangar_async.oci import PIECE
from hangar_async.oci.digest import Digest
from hangar_async.oci.media_types import OCI_MANIFEST
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent
from tests.fakes.auth import TokenServer
from tests.fakes.faults import CutBody, Lost
from tests.fakes.push import push
from tests.fakes.pushes import Pushes
from tests.fakes.registry import FakeRegistry, fake_registry


async def whole(content: MemoryContent, digest: Digest, start: int = 0, stop: int = 1 << 40) -> list[bytes]:
    return [bytes(piece) async for piece in content.read(digest, start, stop)]


async def test_a_built_image_is_there_with_all_that_it_needs(images: Mapping[str, Built]) -> None:
    content, built = MemoryContent(), images["nested"]
    assert content.add("team/app:1", built) == built.digest
    assert await content.repositories() == ["team/app"]
    assert await content.tags("team/app") == ["1"]
    found = await content.resolve("team/app", "1")
    assert found == await content.resolve("team/app", built.digest) == built.descriptor
    for digest, (media_type, raw) in built.documents.items():
        found = await content.resolve("team/app", digest)
        assert found is not None
        assert (found.media_type, found.size) == (media_type, len(raw))
        assert await whole(content, digest) == [raw]
    for digest, data in built.blobs.items():
        assert await content.size("team/app", digest) == len(data)
        assert b"".join(await whole(content, digest)) == data


async def test_unknown_content_is_none() -> None:
    content = MemoryContent()
    digest = content.add_blob("a", b"blob")
    manifest = content.add_manifest("a", b"{}", OCI_MANIFEST)
    assert await content.tags("b") is None
    assert await content.tags("a") == []
    assert await content.resolve("b", "1") is None
    assert await content.resolve("a", "1") is None
    # A blob is no manifest, a manifest no blob, and another repository's blob is not this one's.
    assert await content.resolve("a", digest) is None
    assert await content.size("a", manifest) is None
    assert await content.size("b", digest) is None


async def test_tags_move_and_go_with_their_manifest() -> None:
    content = MemoryContent()
    first = content.add_manifest("a", b"{}", OCI_MANIFEST, ["1", "latest"])
    second = content.add_manifest("a", b"{ }", OCI_MANIFEST)
    content.tag("a", "latest", second)
    found = await content.resolve("a", "latest")
    assert found is not None
    assert found.digest == second
    content.remove("a", first)
    assert await content.tags("a") == ["latest"]
    assert await content.resolve("a", first) is None
    with pytest.raises(InvalidValue, match="has no manifest"):
        content.tag("a", "2", first)


async def test_other_algorithms() -> None:
    content = MemoryContent()
    blob = content.add_blob("a", b"blob", "sha512")
    manifest = content.add_manifest("a", b"{}", OCI_MANIFEST, ["1"], "sha512")
    assert (blob.algorithm, manifest.algorithm) == ("sha512", "sha512")
    assert await content.size("a", blob) == 4
    assert await content.resolve("a", manifest) is not None


async def test_reading_is_in_pieces() -> None:
    content = MemoryContent()
    data = bytes(range(251)) * (3 * PIECE // 251)
    digest = content.add_blob("a", data)
    pieces = await whole(content, digest)
    assert b"".join(pieces) == data
    assert max(map(len, pieces)) == PIECE
    assert b"".join(await whole(content, digest, 5, PIECE + 9)) == data[5 : PIECE + 9]
    assert await whole(content, content.add_blob("a", b"")) == []


DATA = bytes(range(256)) * 100
DIGEST = Digest.of(DATA)
UPLOADS = "/v2/team/app/blobs/uploads/"


async def opened(client: aiohttp.ClientSession, query: str = "") -> str:
    async with client.post(f"{UPLOADS}{query}") as answer:
        assert answer.status == 202
        return answer.headers["Location"]


async def asked(client: aiohttp.ClientSession, method: str, path: str, **more: object) -> tuple[int, Mapping[str, str]]:
    async with client.request(method, path, **more) as answer:  # type: ignore[arg-type]
        await answer.read()
        return answer.status, answer.headers


async def test_an_upload_in_pieces(client: aiohttp.ClientSession, pushes: Pushes) -> None:
    place = await opened(client)
    assert (await asked(client, "GET", place))[1]["Range"] == "0-0"
    status, told = await asked(client, "PATCH", place, data=DATA[:1000], headers={"Content-Range": "0-999"})
    assert (status, told["Range"]) == (202, "0-999")
    status, told = await asked(client, "PATCH", place, data=b"x", headers={"Content-Range": "999-999"})
    assert (status, told["Range"]) == (416, "0-999")
    status, told = await asked(client, "GET", place)
    assert (status, told["Range"]) == (204, "0-999")
    status, told = await asked(client, "PUT", f"{place}&digest={DIGEST}", data=DATA[1000:])
    assert (status, told["Docker-Content-Digest"]) == (201, str(DIGEST))
    assert not pushes.sessions
    assert (await asked(client, "GET", place))[0] == 404
    assert (await asked(client, "GET", told["Location"]))[0] == 200


async def test_wrong_bytes_end_the_session(client: aiohttp.ClientSession, pushes: Pushes) -> None:
    place = await opened(client)
    assert (await asked(client, "PUT", f"{place}&digest={DIGEST}", data=b"other"))[0] == 400
    assert not pushes.sessions


async def test_a_session_may_be_given_up(client: aiohttp.ClientSession, pushes: Pushes) -> None:
    place = await opened(client)
    assert (await asked(client, "DELETE", place))[0] == 204
    assert not pushes.sessions


async def test_a_session_belongs_to_its_repository(client: aiohttp.ClientSession) -> None:
    place = (await opened(client)).replace("/team/app/", "/other/")
    assert (await asked(client, "GET", place))[0] == 404


async def test_mounts(client: aiohttp.ClientSession, pushes: Pushes) -> None:
    pushes.content.add_blob("base", DATA)
    query = f"?mount={DIGEST}&from=base"
    status, told = await asked(client, "POST", UPLOADS + query)
    assert (status, told["Location"]) == (201, f"/v2/team/app/blobs/{DIGEST}")
    pushes.mounts = False
    await opened(client, query)
    pushes.mounts = True
    await opened(client, query.replace("base", "elsewhere"))


async def test_too_large_pieces_are_refused_and_the_least_size_is_reported(
    client: aiohttp.ClientSession, pushes: Pushes
) -> None:
    pushes.largest, pushes.minimum = 1000, 500
    status, told = await asked(client, "POST", UPLOADS)
    assert (status, told["OCI-Chunk-Min-Length"]) == (202, "500")
    assert (await asked(client, "PATCH", told["Location"], data=DATA))[0] == 413
    assert (await asked(client, "PATCH", told["Location"], data=DATA[:1000]))[0] == 202


@pytest.mark.parametrize("reset", [False, True])
async def test_a_body_that_is_cut_is_kept_as_far_as_it_came(
    pushable_registry: FakeRegistry, client: aiohttp.ClientSession, pushes: Pushes, reset: bool
) -> None:
    pushable_registry.fail("/uploads/", CutBody(777, reset), method="PATCH")
    place = await opened(client)
    with pytest.raises(aiohttp.ClientError):
        await asked(client, "PATCH", place, data=DATA)
    assert (await asked(client, "GET", place))[1]["Range"] == "0-776"
    assert pushes.received == [777]


async def test_an_answer_that_is_lost(
    pushable_registry: FakeRegistry, client: aiohttp.ClientSession, pushes: Pushes
) -> None:
    pushable_registry.fail("/uploads/", Lost(), method="PATCH")
    place = await opened(client)
    with pytest.raises(aiohttp.ClientError):
        await asked(client, "PATCH", place, data=DATA)
    assert (await asked(client, "GET", place))[1]["Range"] == f"0-{len(DATA) - 1}"


async def test_images_are_taken_whole_or_not(
    pushable_registry: FakeRegistry, pushes: Pushes, images: Mapping[str, Built]
) -> None:
    for name, built in images.items():
        with pytest.raises(AssertionError, match="MANIFEST_BLOB_UNKNOWN"):
            await push(
                pushable_registry.address,
                name,
                Built(built.raw, built.media_type, {built.digest: ("x", built.raw)}, {}),
            )
        await push(pushable_registry.address, f"{name}:v1", built)
        found = await pushes.content.resolve(name, "v1")
        assert found
        assert (found.digest, found.media_type) == (built.digest, built.media_type)


async def test_a_tag_is_deleted_alone_and_a_manifest_with_its_tags(
    client: aiohttp.ClientSession, pushes: Pushes, images: Mapping[str, Built]
) -> None:
    built = images["nested"]
    for tag in ("one", "two", "three"):
        pushes.content.add(f"team/app:{tag}", built)
    place = "/v2/team/app/manifests/"
    assert (await asked(client, "DELETE", f"{place}one"))[0] == 202
    assert await pushes.content.tags("team/app") == ["three", "two"]
    assert await pushes.content.resolve("team/app", built.digest) is not None
    assert (await asked(client, "DELETE", f"{place}one"))[0] == 404
    pushes.deletes_tags = False
    assert (await asked(client, "DELETE", f"{place}two"))[0] == 405
    assert (await asked(client, "DELETE", f"{place}{built.digest}"))[0] == 202
    assert await pushes.content.tags("team/app") == []


async def test_a_tag_that_stays(pushable_registry: FakeRegistry, pushes: Pushes, images: Mapping[str, Built]) -> None:
    pushes.immutable.add("v1")
    await push(pushable_registry.address, "app:v1", images["oci"])
    await push(pushable_registry.address, "app:v1", images["oci"])
    with pytest.raises(AssertionError, match="immutable"):
        await push(pushable_registry.address, "app:v1", images["docker"])


@pytest.mark.parametrize("raw", [b"{", b"[]", b'{"layers": 5}', b'{"config": {"digest": "x"}}'])
async def test_an_invalid_manifest_is_refused(client: aiohttp.ClientSession, raw: bytes) -> None:
    headers = {"Content-Type": "x"}
    assert (await asked(client, "PUT", "/v2/app/manifests/v1", data=raw, headers=headers))[0] == 400


async def test_only_who_may_push_can() -> None:
    tokens = TokenServer({"user": "pass:word"})
    async with fake_registry(auth=tokens, pushable=True) as registry:
        url = f"http://{registry.address}"
        for user, scope, status in (
            (None, "repository:team/app:pull,push", 401),
            ("user", "repository:team/app:pull", 401),
            ("user", "repository:other:pull,push", 401),
            ("user", "repository:team/app:pull,push", 202),
        ):
            headers = {"Authorization": aiohttp.encode_basic_auth(user, "pass:word")} if user else {}
            async with aiohttp.ClientSession(url) as session:
                async with session.get("/token", params={"scope": scope}, headers=headers) as answer:
                    token = (await answer.json())["token"]
                bearer = {"Authorization": f"Bearer {token}"}
                async with session.post(UPLOADS, headers=bearer) as answer:
                    assert answer.status == status
                    if status == 401:
                        wanted = 'scope="repository:team/app:pull,push"'
                        assert wanted in answer.headers["WWW-Authenticate"]


async def test_a_registry_that_takes_nothing(fake_registry: FakeRegistry) -> None:
    async with aiohttp.ClientSession(f"http://{fake_registry.address}") as session:
        assert (await asked(session, "POST", UPLOADS))[0] == 405


@pytest.mark.parametrize(
    ("path", "data"),
    [
        (f"/v2/team/app/manifests/{'sha256:1'}", b'{"schemaVersion": 2}'),
        ("/v2/team/app/manifests/md5:1234", b'{"schemaVersion": 2}'),
        ("/v2/team/app/manifests/v1", b'{"schemaVersion": 2, "subject": 5}'),
        ("/v2/team/app/manifests/v1", b'[]'),
        ("/v2/team/app/manifests/v1", b'{"layers": [{"digest": "x"}]}'),
        ("/v2/team/app/manifests/v1", b'\xff'),
    ],
)  # fmt: skip
async def test_nonsense_is_refused_and_nothing_is_kept(
    client: aiohttp.ClientSession, pushes: Pushes, path: str, data: bytes
) -> None:
    assert (await asked(client, "PUT", path, data=data))[0] == 400
    assert await pushes.content.repositories() == []


@pytest.mark.parametrize("query", ["", "&digest=", "&digest=nonsense", "&digest=sha256:12"])
async def test_a_blob_without_a_digest_that_can_be_read(
    client: aiohttp.ClientSession, pushes: Pushes, query: str
) -> None:
    place = await opened(client)
    assert (await asked(client, "PUT", f"{place}{query}", data=DATA))[0] == 400
    assert await pushes.content.repositories() == []


async def test_a_mount_of_nonsense(client: aiohttp.ClientSession) -> None:
    assert (await asked(client, "POST", f"{UPLOADS}?mount=nonsense&from=a"))[0] == 400
