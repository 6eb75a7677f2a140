from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.options import ServeOptions
from hangar_async.errors import UsageError


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:5000", ("127.0.0.1", 5000)),
        (":5000", ("", 5000)),
        ("0.0.0.0:80", ("0.0.0.0", 80)),
        ("[::1]:5000", ("::1", 5000)),
        ("[fe80::1%eth0]:5000", ("fe80::1%eth0", 5000)),
        ("localhost:0", ("localhost", 0)),
        (" registry.local:65535 ", ("registry.local", 65535)),
    ],
)
def test_addresses_to_listen_on(text: str, address: tuple[str, int]) -> None:
    assert ServeOptions(source=Path("x"), listen=text).address == address


@pytest.mark.parametrize(
    "text", ["", "5000", ":", "localhost", "localhost:", "::1:5000", "[::1]", "a:65536", "a:-1", "http://a:1", "a b:1"]
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(UsageError, match="is no address to listen on"):
        ServeOptions(source=Path("x"), listen=text)


def test_a_certificate_needs_its_key() -> None:
    for name, missing in (("tls_cert", "--tls-key"), ("tls_key", "--tls-cert")):
        values: dict[str, Any] = {name: Path("x")}
        with pytest.raises(UsageError, match=f"{missing} is missing"):
            ServeOptions(source=Path("x"), **values)
