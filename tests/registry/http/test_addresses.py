from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given, strategies as st
from yarl import URL

from hangar_async.registry.http.addresses import address_of, is_internal, is_loopback, web_address

BASE = URL("https://registry.test/v2/app/blobs/x?sig=1")


@pytest.mark.parametrize(
    "host",
    ["localhost", "LOCALHOST.", "a.localhost", "127.0.0.1", "127.9.8.7", "127.1", "2130706433", "0x7f.1", "0177.0.0.1",
     "::1", "[::1]", "::ffff:127.0.0.1", "[::ffff:7f00:1]"],
)  # fmt: skip
def test_loopback_in_all_its_spellings(host: str) -> None:
    assert is_loopback(host)
    assert is_internal(host)


@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1", "fe80::1%eth0", "[fe80::1]", "0.0.0.0", "::", "0"])
def test_internal_but_not_loopback(host: str) -> None:
    assert is_internal(host)
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "host", ["example.com", "10.0.0.1", "192.168.1.1", "localhost.example.com", "8.8.8.8", "", "1.2.3.4.5"]
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
     "https://[x]@/", "https://.[02]@/", "https://[::/", "https://xn--/", f"https://{'a' * 254}/", "socks5://a:1oc0"],
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
