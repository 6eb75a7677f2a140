from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web

import hangar_async
from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, NetworkError, NotFound, RegistryError, Unauthorized
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.manifests import Quota, ServedManifest
from tests.registry.rig import MANIFEST, OCI, Handler, Served, raw_server, request_head, served

SETTINGS = RegistrySettings()


def manifest(body: bytes = MANIFEST, status: int = 200, **headers: str) -> Handler:
    """Answer `/v2/` with 200, and everything else with this."""
    fields = {"Content-Type": OCI, **{name.replace("_", "-"): value for name, value in headers.items()}}

    async def handle(request: web.Request) -> web.Response:
        if request.path == "/v2/":
            return web.json_response({})
        return web.Response(body=body, status=status, headers=fields)

    return handle


async def get(handler: Handler, name: str = "app:v1", digest: Digest | None = None) -> tuple[ServedManifest, Served]:
    async with served(handler) as registry, RegistryClient(SETTINGS) as client:
        return await client.get_manifest(Reference.parse(f"{registry.host}/{name}"), digest), registry


async def failure(handler: Handler, name: str = "app:v1") -> RegistryError:
    with pytest.raises(RegistryError) as caught:
        await get(handler, name)
    return caught.value


async def test_a_manifest_comes_as_it_was_served() -> None:
    raw = b' \n{"schemaVersion": 2}\t'
    found, registry = await get(manifest(raw), "team/app:v1")
    assert found == ServedManifest(raw, OCI, Digest.of(raw))
    [request] = registry.asked("manifests")
    assert request.path == "/v2/team/app/manifests/v1"
    assert request.headers["Accept"] == media_types.ACCEPT
    assert request.headers["Accept-Encoding"] == "identity"
    assert request.headers["User-Agent"] == f"hangar_async/{hangar_async.__version__}"
    assert not {"Authorization", "Cookie", "Range"} & set(request.headers)


@pytest.mark.parametrize(
    ("headers", "status", "told"),
    [
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 200, Descriptor(OCI, Digest.of(MANIFEST), len(MANIFEST))),
        ({}, 200, None),
        ({"Docker_Content_Digest": "sha256:0"}, 200, None),
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 404, None),
        ({"Docker_Content_Digest": str(Digest.of(MANIFEST))}, 405, None),
    ],
)
async def test_a_head_tells_what_it_can_and_is_all_that_is_asked(
    headers: dict[str, str], status: int, told: Descriptor | None
) -> None:
    quotas: list[tuple[str, Quota]] = []
    answer = manifest(MANIFEST, status, RateLimit_Limit="100;w=60", RateLimit_Remaining="99", **headers)
    async with (
        served(answer) as registry,
        RegistryClient(SETTINGS, quota=lambda host, quota: quotas.append((host, quota))) as client,
    ):
        assert await client.head_manifest(Reference.parse(f"{registry.host}/team/app:v1"), get=False) == told
    assert [request.method for request in registry.asked("manifests")] == ["HEAD"]
    assert quotas == [(registry.host, Quota(99, 100, 60))]


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_digest_is_asked_for_and_compared(algorithm: str) -> None:
    digest = Digest.of(MANIFEST, algorithm)
    found, registry = await get(manifest(), "app:v1", digest)
    assert found.digest == digest
    assert registry.asked("manifests")[0].path.endswith(f"/manifests/{digest}")


async def test_the_digest_of_a_reference_wins_over_its_tag() -> None:
    digest = Digest.of(MANIFEST)
    found, registry = await get(manifest(), f"app:v1@{digest}")
    assert found.digest == digest
    assert registry.asked("manifests")[0].path.endswith(f"/manifests/{digest}")


async def test_other_bytes_than_asked_for_are_refused() -> None:
    wanted = Digest.of(b"other")
    with pytest.raises(DigestMismatch) as caught:
        await get(manifest(), "app:v1", wanted)
    assert caught.value.digest == str(wanted)


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
async def test_a_digest_header_that_contradicts_the_bytes_is_refused(algorithm: str) -> None:
    with pytest.raises(DigestMismatch):
        await get(manifest(Docker_Content_Digest=str(Digest.of(b"other", algorithm))))


@pytest.mark.parametrize("told", ["", "md5:123", "nonsense", "sha256:" + "A" * 64])
async def test_a_digest_header_that_says_nothing_is_passed_over(told: str) -> None:
    found, _ = await get(manifest(Docker_Content_Digest=told))
    assert found.digest == Digest.of(MANIFEST)


async def test_a_manifest_of_the_largest_size_is_taken_and_one_byte_more_is_not() -> None:
    largest = b"{" + b" " * (MAX_DOCUMENT - 2) + b"}"
    found, _ = await get(manifest(largest))
    assert len(found.raw) == MAX_DOCUMENT
    with pytest.raises(ContentError, match="larger than"):
        await get(manifest(largest + b" "))


async def test_an_endless_manifest_is_given_up_soon() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/":
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    with pytest.raises(ContentError, match="larger than"):
        await get(handle)


async def test_an_encoding_that_was_not_asked_for_is_refused() -> None:
    with pytest.raises(ContentError, match="gzip"):
        await get(manifest(gzip.compress(MANIFEST), Content_Encoding="gzip"))


async def test_not_found_names_the_image_and_the_registry() -> None:
    body = b'{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown"}]}'
    error = await failure(manifest(body, 404), "team/app:v9")
    assert isinstance(error, NotFound)
    assert "team/app:v9" in str(error)
    assert error.code == "MANIFEST_UNKNOWN"
    assert error.host in str(error)
    assert not error.transient


@pytest.mark.parametrize("status", [401, 403])
async def test_denied_without_credentials(status: int) -> None:
    body = b'{"errors":[{"code":"DENIED","message":"requested access is denied"}]}'
    error = await failure(manifest(body, status))
    assert isinstance(error, Unauthorized)
    assert "no credentials" in str(error)
    assert "DENIED: requested access is denied" in str(error)
    assert not error.transient


@pytest.mark.parametrize(("told", "wait"), [("17", 17.0), ("soon", None), ("", None)])
async def test_a_rate_limit_says_how_long_to_wait(told: str, wait: float | None) -> None:
    error = await failure(manifest(b"{}", 429, Retry_After=told))
    assert (error.status, error.retry_after, error.transient) == (429, wait, True)


@pytest.mark.parametrize("status", [500, 502, 503, 504])
async def test_a_broken_registry_may_recover(status: int) -> None:
    body = b"<html><body>Bad Gateway</body></html>" * 10_000
    error = await failure(manifest(body, status, Content_Type="text/html"))
    assert error.status == status
    assert error.transient
    assert "<" not in str(error)


@pytest.mark.parametrize("status", [201, 204, 206, 304, 400, 405])
async def test_any_other_status_is_an_error_that_stays(status: int) -> None:
    error = await failure(manifest(b"", status))
    assert error.status == status
    assert not error.transient


async def test_connections_are_used_again_after_refusals_too() -> None:
    ports = set()

    async def handle(request: web.Request) -> web.Response:
        assert request.transport is not None
        ports.add(request.transport.get_extra_info("peername")[1])
        return web.json_response({"errors": []}, status=404)

    async with served(handle) as registry, RegistryClient(SETTINGS) as client:
        for tag in ("a", "b", "c"):
            with pytest.raises(NotFound):
                await client.get_manifest(Reference.parse(f"{registry.host}/app:{tag}"))
    assert len(registry.asked("manifests")) == 3
    assert len(ports) == 1


async def test_nothing_listens() -> None:
    async with served(manifest()) as registry:
        image = Reference.parse(f"{registry.host}/app")
    async with RegistryClient(SETTINGS) as client:
        with pytest.raises(NetworkError) as caught:
            await client.get_manifest(image)
    assert caught.value.transient
    assert caught.value.host == image.registry
    assert str(caught.value).count(image.registry) == 1


async def test_a_host_without_address() -> None:
    async with RegistryClient(SETTINGS) as client:
        with pytest.raises(NetworkError, match="address cannot be found") as caught:
            await client.get_manifest(Reference.parse("registry.invalid/app"))
    assert caught.value.transient


@pytest.mark.parametrize(
    "answer",
    [b"", b"HTTP/1.1 2", b"SSH-2.0-OpenSSH_9.2\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort",
     b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"],
)  # fmt: skip
async def test_what_is_not_http_is_a_network_error(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        line, _ = await request_head(reader)
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" if "/v2/ " in line else answer
        )
        await writer.drain()

    async with raw_server(talk) as host, RegistryClient(SETTINGS) as client:
        with pytest.raises(NetworkError) as caught:
            await client.get_manifest(Reference.parse(f"{host}/app"))
    assert caught.value.transient


async def test_an_answer_that_never_comes_is_a_stall() -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.path != "/v2/":
            await asyncio.Event().wait()
        return web.Response()

    async with served(handle) as registry, RegistryClient(RegistrySettings(stall_timeout=0.1)) as client:
        with pytest.raises(NetworkError, match="nothing arrived") as caught:
            await client.get_manifest(Reference.parse(f"{registry.host}/app"))
    assert caught.value.transient


async def test_cancelling_a_request_leaves_the_client_usable() -> None:
    arrived = asyncio.Event()

    async def handle(request: web.Request) -> web.Response:
        if request.path.endswith("slow"):
            arrived.set()
            await asyncio.Event().wait()
        return web.Response(body=MANIFEST)

    async with served(handle) as registry, RegistryClient(SETTINGS, connections=1) as client:
        task = asyncio.ensure_future(client.get_manifest(Reference.parse(f"{registry.host}/app:slow")))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await client.get_manifest(Reference.parse(f"{registry.host}/app:quick"))).raw == MANIFEST


async def test_an_error_that_never_ends_is_not_heard_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar_async.registry.http.response._ERROR_BODY_TIMEOUT", 0.1)

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/":
            return web.Response()
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        await response.write(b"<")
        await asyncio.Event().wait()
        return response

    assert (await failure(handle)).status == 503


async def test_registries_by_an_ipv6_address() -> None:
    async with served(manifest(), host="::1") as registry, RegistryClient(SETTINGS) as client:
        image = Reference.parse(f"[::1]:{registry.host.rpartition(':')[2]}/app")
        assert (await client.get_manifest(image)).raw == MANIFEST
