"""Addresses that are listened on."""

import pytest

from hangar_async.config.listen import parse_listen, parse_metrics
from hangar_async.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("9464", ("127.0.0.1", 9464)),
        (" :9464 ", ("", 9464)),
        ("h.io:1", ("h.io", 1)),
        ("[fe80::1%eth0]:80", ("fe80::1%eth0", 80)),
    ],
)
def test_addresses_of_numbers(text: str, address: tuple[str, int]) -> None:
    assert parse_metrics(text) == address


@pytest.mark.parametrize("text", ["", "h.io", "65536", "h.io:x", "a b:1"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match=r"is no address to listen on \(--x\)"):
        parse_listen(text, "--x")
    with pytest.raises(UsageError, match=r"is no address to listen on \(--metrics\)"):
        parse_metrics(text)
