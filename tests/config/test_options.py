"""Options are values that are checked when they are made."""

from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions, ServeOptions
from hangar_async.errors import UsageError

NOTHING = Environment()


def test_options_that_cannot_be_right() -> None:
    with pytest.raises(UsageError, match="unknown format 'lzma'"):
        SaveOptions(images=["a"], destination=Path("x"), format="lzma", environment=NOTHING)
    with pytest.raises(UsageError, match="--part-size"):
        SaveOptions(images=["a"], destination=Path("x"), part_size=0, environment=NOTHING)
    with pytest.raises(UsageError, match="no parts"):
        SaveOptions(images=["a"], destination=Path("x"), part_size=1, format="dir", environment=NOTHING)
    with pytest.raises(UsageError, match="not a level of gzip: write 0 to 9"):
        SaveOptions(images=["a"], destination=Path("x"), level=10, environment=NOTHING)
    with pytest.raises(UsageError, match="is not compressed"):
        SaveOptions(images=["a"], destination=Path("x"), level=1, format="dir", environment=NOTHING)
    with pytest.raises(UsageError, match="not an architecture"):
        SaveOptions(images=["a"], destination=Path("x"), architectures=["amd64", "a/b/c/d"], environment=NOTHING)
    with pytest.raises(UsageError, match="not a registry"):
        SaveOptions(images=["a"], destination=Path("x"), source="https://reg", environment=NOTHING)


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
def test_an_invalid_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="is no address to listen on"):
        ServeOptions(source=Path("x"), listen=text)


def test_a_certificate_needs_its_key() -> None:
    for name, missing in (("tls_cert", "--tls-key"), ("tls_key", "--tls-cert")):
        values: dict[str, Any] = {name: Path("x")}
        with pytest.raises(UsageError, match=f"{missing} is missing"):
            ServeOptions(source=Path("x"), **values)


def test_the_output_of_a_save_has_the_ending_of_its_format() -> None:
    options = SaveOptions(images=["a"], destination=Path("v1.2/out"), format="zstd", environment=NOTHING)
    assert options.output.target == Path("v1.2/out.tar.zstd")
