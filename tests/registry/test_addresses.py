from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.registry.addresses import address_of, is_internal, is_loopback


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
def test_elsewhere(host: str) -> None:
    assert not is_internal(host)


@given(st.ip_addresses())
def test_every_address_is_read_as_itself(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert address_of(str(address)) == (mapped or address)


@given(st.text())
def test_any_text_has_an_answer(text: str) -> None:
    assert isinstance(is_internal(text), bool)
