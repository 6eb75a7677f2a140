from __future__ import annotations

import base64
import ipaddress
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.http.proxies import Proxy as ForwardProxy, bypasses, proxy_for
from tests.fakes.registry import answering
from tests.refusal import attempt
from tests.registry.rig import MANIFEST, Proxy, pull, serve_manifest

BOTH = Proxies(http="http://plain:3128", https="http://secure:3128")
_label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda text: not text.isdigit())
_names = (
    st.lists(_label, min_size=2, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1][0].isdigit())
)


def test_the_scheme_chooses_the_proxy() -> None:
    assert proxy_for(URL("http://reg.io/v2/"), BOTH) == ForwardProxy(URL("http://plain:3128"))
    assert proxy_for(URL("https://reg.io/v2/"), BOTH) == ForwardProxy(URL("http://secure:3128"))
    assert proxy_for(URL("https://reg.io/v2/"), Proxies(http="http://plain:3128")) is None


def test_a_proxy_without_scheme_is_http() -> None:
    assert proxy_for(URL("https://reg.io"), Proxies(https="box:8080")) == ForwardProxy(URL("http://box:8080"))


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.5.5.5", "[::1]"])
def test_loopback_is_never_proxied(host: str) -> None:
    assert proxy_for(URL(f"http://{host}:5000/"), BOTH) is None


@given(st.text("htps:/@.[]xn-127 ", max_size=20) | st.text(max_size=20))
def test_any_proxy_is_used_or_refused(text: str) -> None:
    found = attempt(lambda: proxy_for(URL("https://reg.io"), Proxies(https=text)), NetworkError)
    assert found is None or (found.url.scheme in ("http", "https") and found.url.host)


@pytest.mark.parametrize(
    "text",
    [
        "http://",
        "http://user:secret@:1/",
        "://",
        "http://h:99999999",
        "http://xn--",
        "http://[x]@",
        "socks5://me:secret@box:1080",
        "http://me:secret%0A@box:3128",
        "http://me:secret%7f@box:3128",
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused(text: str) -> None:
    kind = "use a proxy of the kind 'socks5'" if text.startswith("socks5") else "read the proxy address for reg.io"
    with pytest.raises(NetworkError, match=f"cannot {kind}") as caught:
        proxy_for(URL("https://reg.io"), Proxies(https=text))
    assert not caught.value.transient
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "escape"),
    [
        ("http://DOMAIN\\me:word@box:3128", r"write %5C in place of '\\'"),
        ("http://me:wo#rd@box:3128", "write %23 in place of '#'"),
        ("me:wo#rd@box:3128", "write %23 in place of '#'"),
        ("http://me:wo/rd@box:3128", "write %2F in place of '/'"),
        ("http://me:wo?rd@box:3128", "write %3F in place of"),
        ("http://me:wo rd@box:3128", "write %20 in place of ' '"),
        ("http://me:wo%rd@box:3128", "write %25 in place of '%'"),
        ("http://me:wo[rd@box:3128", "write %5B in place of"),
    ],
)
def test_a_character_that_must_be_escaped_is_told(text: str, escape: str) -> None:
    with pytest.raises(NetworkError, match=f"cannot read the proxy address for reg.io: {escape}") as caught:
        proxy_for(URL("https://reg.io"), Proxies(https=text))
    assert not caught.value.transient
    assert "HTTPS_PROXY" in caught.value.advice
    assert "me" not in str(caught.value).replace("name", "")
    assert "rd" not in str(caught.value).replace("word", "")


@pytest.mark.parametrize(
    ("login", "sent"),
    [
        ("me:word", b"me:word"),
        ("j\u00fcrgen:gr\u00fc\u00df", "j\u00fcrgen:gr\u00fc\u00df".encode()),
        ("me:\u20ac", "me:\u20ac".encode()),
        ("j%C3%BCrgen:%E2%82%AC", "j\u00fcrgen:\u20ac".encode()),
        ("me:gr%FC%DF", b"me:gr\xfc\xdf"),
        ("me:gr\udcfc", b"me:gr\xfc"),
        ("DOMAIN%5Cme:w%23%40%3Ard", b"DOMAIN\\me:w#@:rd"),
        ("me:w@rd", b"me:w@rd"),
        ("me", b"me:"),
        (":word", b":word"),
    ],
)
def test_the_login_at_a_proxy_is_sent_in_utf_8(login: str, sent: bytes) -> None:
    proxy = proxy_for(URL("https://reg.io"), Proxies(https=f"http://{login}@box:3128"))
    assert proxy is not None
    assert proxy.url == URL("http://box:3128")
    assert proxy.authorization == f"Basic {base64.b64encode(sent).decode()}"
    assert proxy.authorization not in repr(proxy)


@pytest.mark.parametrize("registry_name", ["registry.test", "registry.test:80"])
async def test_a_login_outside_of_ascii_reaches_the_proxy_alone(
    server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings], registry_name: str
) -> None:
    plain = registry_name.endswith(":80")
    async with (
        answering(serve_manifest, tls=None if plain else server_tls) as registry,
        Proxy({"registry.test:80" if plain else "registry.test:443": registry.address}).running() as proxy,
    ):
        address = proxy.url.replace("http://", "http://j\u00fcrgen:\u20ac@")
        settings = replace(trusting("registry.test"), proxies=Proxies(address, address), tls_verify=not plain)
        assert await pull(f"{registry_name}/app", settings) == MANIFEST
    sent = base64.b64encode("j\u00fcrgen:\u20ac".encode()).decode()
    assert {headers["proxy-authorization"] for headers in proxy.headers} == {f"Basic {sent}"}
    assert all("Proxy-Authorization" not in request.headers for request in registry.requests)
    assert "\u20ac" not in repr(settings)


@pytest.mark.parametrize(
    ("host", "entry", "expected"),
    [
        ("reg.io", "*", True),
        ("reg.io", "reg.io", True),
        ("a.reg.io", "reg.io", True),
        ("areg.io", "reg.io", False),
        ("a.reg.io", ".reg.io", True),
        ("reg.io", ".reg.io", False),
        ("a.reg.io", "*.reg.io", True),
        ("REG.io.", "reg.IO", True),
        ("reg.io", "reg.io:443", True),
        ("reg.io", "reg.io:5000", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.4/32", False),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "10.1.2.3:443", True),
        ("10.1.2.3", "10.1.2.3:80", False),
        ("fd00::1", "[fd00::1]:443", True),
        ("fd00::1", "fd00::/16", True),
        ("reg.io", "10.0.0.0/8", False),
        ("reg.io", "reg.io/8", False),
        ("10.1.2.3", "10.0.0.0/99", False),
        ("reg.io", "", False),
        ("reg.io", ":443", False),
    ],
)
def test_no_proxy_names_hosts_that_are_asked_directly(host: str, entry: str, expected: bool) -> None:
    assert bypasses(host, 443, [entry]) is expected


@given(_names, _label)
def test_a_domain_covers_itself_and_its_subdomains(name: str, label: str) -> None:
    assert bypasses(name, 443, [name])
    assert bypasses(f"{label}.{name}", 443, [name])
    assert bypasses(f"{label}.{name}", 443, [f".{name}"])
    assert not bypasses(name, 443, [f"{label}.{name}"])
    assert not bypasses(f"{label}{name}", 443, [name])


@given(st.ip_addresses(v=4), st.integers(0, 32))
def test_a_block_covers_its_addresses(address: ipaddress.IPv4Address, bits: int) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    assert bypasses(str(address), None, [str(network)])
    outside = ipaddress.ip_address(int(address) ^ (1 << 31))
    assert bypasses(str(outside), None, [str(network)]) is (bits == 0)


@given(st.text(max_size=30), st.lists(st.text(max_size=30), max_size=3))
def test_any_text_has_an_answer_proxy(host: str, entries: list[str]) -> None:
    assert isinstance(bypasses(host, 443, entries), bool)
