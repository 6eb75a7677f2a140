import contextlib
import hashlib

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest


@given(st.binary(max_size=200), st.sampled_from(["sha256", "sha512"]))
def test_digest_of_data_reads_back(data: bytes, algorithm: str) -> None:
    digest = Digest.of(data, algorithm)
    assert digest.hex == hashlib.new(algorithm, data).hexdigest()
    assert Digest.parse(str(digest)) == digest
    hasher = digest.hasher()
    hasher.update(data)
    assert hasher.hexdigest() == digest.hex


@pytest.mark.parametrize(
    "text",
    ["", "sha256", "sha256:", "sha256:" + "a" * 63, "sha256:" + "a" * 65, "sha256:" + "A" * 64, "md5:" + "a" * 32,
     "sha256:" + "../" * 21 + "a", "sha256:" + "a" * 63 + "\n", "sha512:" + "a" * 64, "sha256:" + "٣" * 64],
)  # fmt: skip
def test_an_invalid_digest_never_gets_into_a_path(text: str) -> None:
    with pytest.raises(InvalidValue, match="is not a digest"):
        Digest.parse(text)


@given(st.text(max_size=100) | st.from_regex(r"sha(256|512):([0-9a-fA-F/.]{64}|[0-9a-f]{63,65}|[0-9a-f]{128})\n?"))
def test_any_text_is_a_digest_or_an_invalid_value(text: str) -> None:
    with contextlib.suppress(InvalidValue):
        digest = Digest.parse(text)
        assert str(digest) == text
        assert digest.hex.isalnum()
        assert len(bytes.fromhex(digest.hex)) in (32, 64)


def test_the_tag_of_a_digest_is_as_long_as_a_tag_may_be() -> None:
    assert Digest("sha256", "a" * 64).tag == f"sha256-{'a' * 64}"
    assert Digest("sha512", "b" * 128).tag == f"sha512-{'b' * 64}"
