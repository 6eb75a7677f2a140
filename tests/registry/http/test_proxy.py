from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.config.registries import Proxies
from hangar_async.errors import NetworkError
from hangar_async.registry.http.proxy import bypasses, proxy_for
from tests.refusal import attempt

BOTH = Proxies(http="http://plain:3128", https="http://secure:3128")
_label = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True).filter(lambda text: not text.isdigit())
_names = (
    st.lists(_label, min_size=2, max_size=4).map(".".join).filter(lambda name: not name.split(".")[-1][0].isdigit())
)


def test_the_scheme_chooses_the_proxy() -> None:
    assert proxy_for(URL("http://reg.io/v2/"), BOTH) == URL("http://plain:3128")
    assert proxy_for(URL("https://reg.io/v2/"), BOTH) == URL("http://secure:3128")
    assert proxy_for(URL("https://reg.io/v2/"), Proxies(http="http://plain:3128")) is None


def test_a_proxy_without_scheme_is_http() -> None:
    assert proxy_for(URL("https://reg.io"), Proxies(https="box:8080")) == URL("http://box:8080")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.5.5.5", "[::1]"])
def test_loopback_is_never_proxied(host: str) -> None:
    assert proxy_for(URL(f"http://{host}:5000/"), BOTH) is None


@given(st.text("htps:/@.[]xn-127 ", max_size=20) | st.text(max_size=20))
def test_any_proxy_is_used_or_refused(text: str) -> None:
    found = attempt(lambda: proxy_for(URL("https://reg.io"), Proxies(https=text)), NetworkError)
    assert found is None or (found.scheme in ("http", "https") and found.host)


@pytest.mark.parametrize(
    "text",
    [
        "socks5://box:1080",
        "http://",
        "http://user:secret@:1/",
        "://",
        "http://h:99999999",
        "http://xn--",
        "http://[x]@",
    ],
)
def test_a_proxy_of_another_kind_is_refused(text: str) -> None:
    with pytest.raises(NetworkError, match="cannot use a proxy") as caught:
        proxy_for(URL("https://reg.io"), Proxies(https=text))
    assert not caught.value.transient
    assert "secret" not in str(caught.value)


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
def test_any_text_has_an_answer(host: str, entries: list[str]) -> None:
    assert isinstance(bypasses(host, 443, entries), bool)
