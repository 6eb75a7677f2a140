from __future__ import annotations

import asyncio
import ipaddress
import ssl
import traceback
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
from aiohttp import web
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import DigestMismatch, NetworkError, NotFound, RegistryError
from hangar_async.oci.reference import Reference
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http.addresses import (
    MAX_REDIRECTS,
    Redirects,
    address_of,
    is_internal,
    is_loopback,
    shown_address,
    web_address,
)
from tests.fakes.registry import FakeRegistry, answering
from tests.refusal import attempt
from tests.registry.rig import Handler, Proxy, describe, raw_server, request_head

BASE = URL("https://registry.test/v2/app/blobs/x?sig=1")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.8.7", "127.1", "2130706433", "0x7f.1", "0177.0.0.1",
     "::1", "[::1]", "::ffff:127.0.0.1", "[::ffff:7f00:1]", "127.0.0.1.", "0177.0.0.1.", "::1%lo", "::ffff:7f00:1%lo"],
)  # fmt: skip
def test_loopback_in_all_its_spellings(host: str) -> None:
    assert is_loopback(host)
    assert is_internal(host)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "fe80::1", "fe80::1%eth0", "[fe80::1]", "0.0.0.0", "0.1.2.3", "::", "0", "224.0.0.1", "ff02::1",
     "239.255.255.250", "255.255.255.255", "100.100.100.200", "168.63.129.16", "fd00:ec2::254", "[fd00:ec2::23]",
     "::ffff:169.254.169.254", "64:ff9b::127.0.0.1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::127.0.0.1", "2002:7f00:1::",
     "2002:a9fe:a9fe::1", "::127.0.0.1", "::ffff:0:127.0.0.1", "fd00::5efe:127.0.0.1", "fd00::200:5efe:7f00:1",
     "2001:0:7f00:1::1", "2001:0:808:808:0:0:80ff:fffe", "169.254.169.254.", "0251.0376.0251.0376", "0xa9fea9fe", "0.",
     "FD00:EC2::254%eth0"],
)  # fmt: skip
def test_internal_but_not_loopback(host: str) -> None:
    assert is_internal(host)
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host",
    [
        "example.com",
        "10.0.0.1",
        "192.168.1.1",
        "172.16.0.1",
        "100.64.0.1",
        "fd00::1",
        "2001:db8::1",
        "64:ff9b::10.0.0.1",
        "2002:808:808::1",
        "::ffff:10.0.0.1",
        "localhost.example.com",
        "8.8.8.8",
        "",
        "1.2.3.4.5",
    ],
)
def test_other_hosts_are_not_internal(host: str) -> None:
    assert not is_internal(host)


@given(st.ip_addresses())
def test_every_address_is_read_as_itself(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert address_of(str(address)) == (mapped or address)


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert isinstance(is_internal(text), bool)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("https://cdn.test/a%2Fb?c=%2b&d=+e~", "https://cdn.test/a%2Fb?c=%2b&d=+e~"),
        ("http://cdn.test:8080/x#fragment", "http://cdn.test:8080/x"),
        ("//cdn.test/x", "https://cdn.test/x"),
        ("/x", "https://registry.test/x"),
        ("../x", "https://registry.test/v2/app/x"),
        ("?y", "https://registry.test/v2/app/blobs/x?y"),
        ("https://[::1]:5000/", "https://[::1]:5000/"),
        ("https://user:pass@cdn.test/", "https://user:pass@cdn.test/"),
    ],
)
def test_addresses_are_kept_as_they_are(text: str, found: str) -> None:
    assert str(web_address(text, BASE)) == found
    assert web_address(text) == (URL(found, encoded=True) if "://" in text else URL())


@pytest.mark.parametrize(
    "text",
    ["", " ", "https://", "https:///x", "ftp://a.test/", "file:///etc/passwd", "https://a b/", "https://\u00e4.test/",
     "https://a.test:0/", "https://a.test:65536/", "https://a.test:x/", "https://a.test/\r\nX: y", "https://../x",
     "https://[x]@/", "https://.[02]@/", "https://[::/", "https://xn--/", f"https://{'a' * 254}/", "socks5://a:1oc0",
     "https://loc%61lhost/", "https://[v1.a:b]/", "https://[::ffff:127.1]/", "https://a..test/", "https://a.test../",
     f"https://{'a' * 64}.test/"],
)  # fmt: skip
def test_a_text_that_is_no_web_address_is_empty(text: str) -> None:
    assert not web_address(text)


_urls = st.text("htps:/.@[]?#%xn-0127a ", max_size=30) | st.from_regex(
    r"https?://[^/]{0,12}(:[0-9]{0,6})?/?", fullmatch=True
)


@given(_urls | st.text(max_size=30))
def test_any_text_is_an_address_or_none(text: str) -> None:
    for found in (web_address(text), web_address(text, BASE)):
        assert found or found == URL()
        if found:
            assert found.scheme in ("http", "https")
            assert found.host
            assert found.port
            assert str(found).isascii()
            assert found.host_port_subcomponent


DATA = b"layer" * 1000
BLOB = describe(DATA)
ME = "Basic bWU6cGFzczp3b3Jk"  # me:pass:word
START = URL("https://registry.test/v2/app/blobs/x")


def registry_that_sends_to(location: Callable[[], str], status: int = 307) -> Handler:
    """A registry that wants to know who asks, and has its blobs elsewhere."""

    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != ME:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="reg"'})
        if request.path == "/v2/":
            return web.Response()
        return web.Response(status=status, headers={"Location": location()}, text="moved")

    return handle


async def storage(request: web.Request) -> web.Response:
    return web.Response(body=DATA)


async def fetch(host: str, start: int = 0, settings: RegistrySettings | None = None) -> bytes:
    chosen = replace(settings or RegistrySettings(), username="me", password="pass:word")
    async with (
        RegistryClient(chosen, username_for=host) as client,
        client.open_blob(Reference.parse(f"{host}/app"), BLOB, start) as body,
    ):
        return b"".join([bytes(piece) async for piece in body.pieces()])


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_storage_elsewhere_gets_no_credentials(status: int) -> None:
    signed = "/bucket/a%2Fb?sig=a%2bb%3D&x=%20+y~"
    async with (
        answering(storage) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn.address}{signed}#part", status)) as registry,
    ):
        assert await fetch(registry.address) == DATA
    [request] = cdn.requests
    assert "Authorization" not in request.headers
    assert "Cookie" not in request.headers
    assert request.raw_path == signed
    assert ME in registry.secrets()


async def test_a_redirect_keeps_the_range() -> None:
    async with (
        answering(storage) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn.address}/x")) as registry,
    ):
        assert await fetch(registry.address, start=10) == DATA
    assert [request.headers["Range"] for request in cdn.requests] == ["bytes=10-"]


async def test_a_redirect_to_the_same_origin_keeps_the_credentials() -> None:
    async def handle(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != ME:
            return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="reg"'})
        if "/blobs/" in request.path:
            return web.Response(status=307, headers={"Location": "../../elsewhere"})
        return web.Response(body=DATA if request.path == "/v2/elsewhere" else b"")

    async with answering(handle) as registry:
        assert await fetch(registry.address) == DATA


async def test_credentials_once_dropped_do_not_come_back() -> None:
    """The place that the registry sends us to may not choose what is asked in our name."""
    ways: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/way/back":
            return web.Response(body=DATA)
        return await registry_that_sends_to(lambda: ways[0])(request)

    async def between(request: web.Request) -> web.Response:
        return web.Response(status=302, headers={"Location": ways[1]})

    async with answering(handle) as registry, answering(between) as station:
        ways += [f"http://{station.address}/", f"http://{registry.address}/way/back"]
        assert await fetch(registry.address) == DATA
    assert not station.secrets()
    assert ["Authorization" in request.headers for request in registry.asked("/way/back")] == [False]


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_an_expired_signed_address_is_a_transient_error(status: int) -> None:
    async def expired(request: web.Request) -> web.Response:
        return web.Response(status=status, text="<Error>expired sig=SECRET</Error>", content_type="application/xml")

    async with (
        answering(expired) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn.address}/x?sig=SECRET")) as registry,
    ):
        with pytest.raises(RegistryError) as caught:
            await fetch(registry.address)
        assert len(cdn.requests) == 1
    error = caught.value
    assert type(error) is RegistryError
    assert (error.status, error.transient, error.host) == (status, True, cdn.address)
    assert "SECRET" not in f"{error} {error.advice} {error!r}"


async def test_a_storage_without_the_blob_is_not_found() -> None:
    async def nothing(request: web.Request) -> web.Response:
        return web.Response(status=404)

    async with (
        answering(nothing) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn.address}/x")) as registry,
    ):
        with pytest.raises(NotFound, match=cdn.address):
            await fetch(registry.address)


async def test_storage_that_does_not_answer_is_named_without_the_signature() -> None:
    async with answering(storage) as cdn:
        gone = cdn.address
    async with answering(registry_that_sends_to(lambda: f"http://{gone}/x?sig=SECRET")) as registry:
        with pytest.raises(NetworkError) as caught:
            await fetch(registry.address)
    assert caught.value.transient
    assert gone in str(caught.value)
    assert "SECRET" not in str(caught.value)


async def test_storage_that_speaks_no_http_is_named_without_the_signature() -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"what?\r\n\r\n")
        await writer.drain()

    async with (
        raw_server(talk) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn}/x?sig=SECRET")) as registry,
    ):
        with pytest.raises(NetworkError, match="not HTTP") as caught:
            await fetch(registry.address)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))


async def test_a_wrong_size_at_the_storage_is_refused() -> None:
    async def short(request: web.Request) -> web.Response:
        return web.Response(body=DATA[:-1])

    async with (
        answering(short) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn.address}/x")) as registry,
    ):
        with pytest.raises(DigestMismatch):
            await fetch(registry.address)


async def circle(request: web.Request) -> web.Response:
    return web.Response(status=307, headers={"Location": str(request.url)})


async def spiral(request: web.Request) -> web.Response:
    number = int(request.query.get("n", "0"))
    return web.Response(status=307, headers={"Location": f"/next?n={number + 1}"})


@pytest.mark.parametrize(("handler", "asked", "why"), [(circle, 1, "circle"), (spiral, MAX_REDIRECTS, "more than 10")])
async def test_endless_redirects_are_refused(handler: Handler, asked: int, why: str) -> None:
    async with (
        answering(handler) as cdn,
        answering(registry_that_sends_to(lambda: f"http://{cdn.address}/")) as registry,
    ):
        with pytest.raises(RegistryError, match=why) as caught:
            await fetch(registry.address)
    assert not caught.value.transient
    assert len(cdn.requests) == asked


@asynccontextmanager
async def public_registry(
    handler: Handler, tls: ssl.SSLContext, settings: RegistrySettings, **routes: str
) -> AsyncIterator[tuple[FakeRegistry, Proxy, RegistrySettings]]:
    """A registry that is elsewhere by its name: registry.test, reached by a proxy."""
    async with answering(handler, tls=tls) as registry, Proxy({}).running() as proxy:
        proxy.routes = {"registry.test:443": registry.address, **routes}
        yield registry, proxy, replace(settings, proxies=Proxies(proxy.url, proxy.url))


@pytest.mark.parametrize(
    ("location", "why"),
    [
        ("http://cdn.test/x", "https to http"),
        ("https://127.0.0.1:{port}/x", "this machine"),
        ("https://localhost:{port}/x", "this machine"),
        ("https://2130706433:{port}/x", "this machine"),
        ("https://[::ffff:127.0.0.1]:{port}/x", "this machine"),
        ("https://169.254.169.254/latest/meta-data", "this machine"),
        ("https://user:pass@cdn.test/x", "user name"),
        ("ftp://cdn.test/x", "no web address"),
        ("https://cdn.test:99999/", "no web address"),
        ("https://cdn.test/a b", "no web address"),
        ("https://cdn.test/\u00e4", "no web address"),
        ("", "no web address"),
    ],
)
async def test_an_unsafe_redirect_of_a_public_registry_is_refused(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], location: str, why: str
) -> None:
    async with answering(storage, tls=server_tls) as inside:
        target = location.replace("{port}", inside.address.rpartition(":")[2])
        handler = registry_that_sends_to(lambda: target)
        trusted = trusting("registry.test", "cdn.test", inside.address)
        async with public_registry(handler, server_tls, trusted) as (_, proxy, settings):
            with pytest.raises(RegistryError, match=why) as caught:
                await fetch("registry.test", settings=settings)
        assert not inside.requests
    assert set(proxy.lines) == {"CONNECT registry.test:443 HTTP/1.1"}
    assert not caught.value.transient
    assert "pass@" not in str(caught.value)


async def test_a_redirect_to_a_public_storage_is_followed(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]
) -> None:
    handler = registry_that_sends_to(lambda: "https://cdn.test/x")
    async with answering(storage, tls=server_tls) as cdn:
        routes = {"cdn.test:443": cdn.address}
        trusted = trusting("registry.test", "cdn.test")
        async with public_registry(handler, server_tls, trusted, **routes) as (registry, _, settings):
            assert await fetch("registry.test", settings=settings) == DATA
    assert ME in registry.secrets()
    assert not cdn.secrets()


_locations = st.sampled_from(["https://", "http://", "//", "/", "", "https://a@"]).flatmap(
    lambda start: st.text("abx.:/@[]?#%-0127", max_size=20).map(start.__add__)
)


@given(st.lists(_locations | st.text(max_size=20), max_size=14))
def test_any_locations_lead_elsewhere_by_https_or_are_refused(locations: list[str]) -> None:
    redirects = Redirects(START, "registry.test")
    seen = {START}
    for location in locations:
        found = attempt(partial(redirects.follow, 307, location), RegistryError)
        if found is not None:
            assert found not in seen
            seen.add(found)
            assert (found.scheme, found.user, found.password) == ("https", None, None)
            assert not is_internal(found.host or "")
    assert redirects.count == len(seen) - 1 <= MAX_REDIRECTS


async def test_a_location_of_brackets_alone_is_refused() -> None:
    async with answering(registry_that_sends_to(lambda: "http://[x]@/")) as registry:
        with pytest.raises(RegistryError, match="no web address"):
            await fetch(registry.address)


def test_addresses_are_joined_and_kept_as_they_are() -> None:
    redirects = Redirects(START, "registry.test")
    assert str(redirects.follow(307, "//cdn.test/a%2Fb?c=%2b#d")) == "https://cdn.test/a%2Fb?c=%2b"
    assert str(redirects.follow(307, "?e")) == "https://cdn.test/a%2Fb?e"
    assert str(redirects.follow(307, "/f")) == "https://cdn.test/f"
    assert redirects.count == 3


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://reg.io/v2/app/blobs/sha256:0", "https://reg.io/v2/app/blobs/sha256:0"),
        ("https://me:word@cdn.io/x?X-Signature=secret&sig=word#word", "https://cdn.io/x?X-Signature=...&sig=..."),
    ],
)
def test_an_address_in_a_log_has_no_secret(url: str, shown: str) -> None:
    assert shown_address(URL(url)) == shown
