"""Upload sessions: the addresses that a registry may name, and the credentials that go there."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest
from aiohttp import web
from hypothesis import given, strategies as st

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError, RegistryError
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.upload_session import UploadSession, received_bytes
from tests.registry.rig import Lent, Proxy, describe, served

DATA = b"layer" * 10_000


BLOB = describe(DATA)


ME = "Basic bWU6cGFzczp3b3Jk"  # me:pass:word


@dataclass
class Uploads:
    """A registry that wants to know who asks, and the place that it sends uploads to."""

    location: str = "/upload/1"
    wants: str | None = ME
    #: Answers before the right ones, by method.
    faults: dict[str, list[int]] = field(default_factory=dict)
    bodies: list[bytes] = field(default_factory=list)
    methods: list[str] = field(default_factory=list)

    async def __call__(self, request: web.Request) -> web.Response:
        if self.wants and request.headers.get("Authorization") != self.wants:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="reg"'})
        if request.path == "/v2/":
            return web.Response()
        self.methods.append(request.method)
        self.bodies.append(await request.read())
        if self.faults.get(request.method):
            return web.Response(status=self.faults[request.method].pop(0))
        if request.method == "POST":
            return web.Response(status=202, headers={"Location": self.location})
        return web.Response(status={"PUT": 201, "PATCH": 202, "HEAD": 404}.get(request.method, 204))


async def push(host: str, settings: RegistrySettings | None = None, tries: int = 1) -> None:
    chosen = replace(settings or RegistrySettings(), username="me", password="pass:word")
    async with RegistryClient(chosen, username_for=host) as client:
        upload = client.upload(Reference.parse(f"{host}/app"), BLOB)
        async with upload:
            for left in reversed(range(tries)):
                try:
                    await upload.send(Lent(DATA))
                except RegistryError as error:
                    if not left or not error.transient:
                        raise


@pytest.mark.parametrize("location", ["/upload/1", "upload?a=b", "http://{host}/upload/1", "//{host}/x#part"])
async def test_it_goes_on_at_the_registry_with_credentials(location: str) -> None:
    uploads = Uploads()
    async with served(uploads) as registry:
        uploads.location = location.replace("{host}", registry.host)
        await push(registry.host)
    assert uploads.methods == ["POST", "PUT"]
    assert uploads.bodies[-1] == DATA
    [put] = [request for request in registry.requests if request.method == "PUT"]
    assert put.headers["Authorization"] == ME
    assert put.query["digest"] == str(BLOB.digest)


async def test_elsewhere_it_goes_on_without_credentials() -> None:
    uploads, storage = Uploads(), Uploads(wants=None)
    async with served(storage) as elsewhere, served(uploads) as registry:
        uploads.location = f"http://{elsewhere.host}/bucket/a%2Fb?sig=a%2bb%3D"
        await push(registry.host)
    [put] = elsewhere.requests
    assert put.raw_path == f"/bucket/a%2Fb?sig=a%2bb%3D&digest={BLOB.digest}"
    assert not elsewhere.secrets()
    assert storage.bodies == [DATA]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_an_expired_upload_address_elsewhere_is_replaced(status: int) -> None:
    """An address that another server has signed is good for a while."""
    uploads, storage = Uploads(), Uploads(wants=None, faults={"PUT": [status], "GET": [status]})
    async with served(storage) as elsewhere, served(uploads) as registry:
        uploads.location = f"http://{elsewhere.host}/x?sig=SECRET"
        await push(registry.host, tries=2)
    # It might have been the answer alone that was refused.
    assert uploads.methods == ["POST", "HEAD", "POST"]
    assert storage.methods == ["PUT", "GET", "PUT"]


async def test_a_refusal_elsewhere_is_reported_without_the_signature() -> None:
    uploads, storage = Uploads(), Uploads(wants=None, faults={"PUT": [413]})
    async with served(storage) as elsewhere, served(uploads) as registry:
        uploads.location = f"http://{elsewhere.host}/x?sig=SECRET"
        with pytest.raises(RegistryError) as caught:
            await push(registry.host)
    assert caught.value.host == elsewhere.host
    assert "SECRET" not in f"{caught.value} {caught.value.advice} {caught.value!r}"


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://cdn.test/x", "https to http"),
        ("https://127.0.0.1/x", "this machine"),
        ("https://169.254.169.254/latest", "this machine"),
        ("https://user:pass@cdn.test/x", "user name"),
        ("ftp://cdn.test/x", "no web address"),
        ("http://registry.test:81/x", "https to http"),
    ],
)
async def test_an_unsafe_upload_address_of_a_public_registry_is_refused(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], location: str, why: str
) -> None:
    async with served(Uploads(location), tls=server_tls) as registry, Proxy({}).running() as proxy:
        proxy.routes = {"registry.test:443": registry.host}
        settings = replace(trusting("registry.test"), proxies=Proxies(proxy.url, proxy.url))
        with pytest.raises(RegistryError, match=f"wants the upload to go on at .*{why}") as caught:
            await push("registry.test", settings)
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert not caught.value.transient
    assert "pass@" not in str(caught.value)


@pytest.mark.parametrize("location", ["http://registry.test/upload/1", "http://registry.test:443/upload/1"])
async def test_an_http_address_of_a_registry_with_tls_is_asked_by_https(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], location: str
) -> None:
    uploads = Uploads(location)
    async with served(uploads, tls=server_tls) as registry, Proxy({}).running() as proxy:
        proxy.routes = {"registry.test:443": registry.host}
        await push("registry.test", replace(trusting("registry.test"), proxies=Proxies(proxy.url, proxy.url)))
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert uploads.methods == ["POST", "PUT"]
    assert {request.headers["Authorization"] for request in registry.asked("/upload")} == {ME}


async def test_a_session_can_be_used_by_itself() -> None:
    uploads = Uploads()
    async with served(uploads) as registry:
        settings = RegistrySettings(username="me", password="pass:word")
        async with RegistryClient(settings, username_for=registry.host) as client:
            session = UploadSession(client.exchange, Reference.parse(f"{registry.host}/app"), BLOB)
            await session.cancel()
            await session.open()
            assert await session.append(0, DATA[:10], 10) is None
            assert await session.offset() is None
            await session.finish(DATA[10:])
            assert not session.address
    assert uploads.methods == ["POST", "PATCH", "GET", "PUT"]


async def test_an_upload_to_a_closed_port_is_a_network_error() -> None:
    uploads = Uploads()
    async with served(uploads) as registry:
        pass
    with pytest.raises(NetworkError):
        await push(registry.host)


@pytest.mark.parametrize(
    ("text", "count"),
    [("0-1", 2), ("0-999", 1000), (" 0-5 ", 6), ("bytes=0-9", 10), ("bytes 0-9", 10), (f"0-{10**18}", 10**18 + 1)],
)
def test_the_range_of_an_upload_is_read_as_its_size(text: str, count: int) -> None:
    assert received_bytes(text) == count


@pytest.mark.parametrize("text", ["", "0-0", "1-5", "0-", "-5", "0", "0-x", "0-5/10", "0-٣", "0--1", f"0-{10**30}"])
def test_an_uncertain_range_of_an_upload_is_none(text: str) -> None:
    assert received_bytes(text) is None


@given(st.text())
def test_any_text_is_a_size_or_none(text: str) -> None:
    found = received_bytes(text)
    assert found is None or found > 1
