from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.archive import checksums
from tests.refusal import attempt

names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and name.strip()
)


def test_a_line_is_a_digest_and_the_name_alone() -> None:
    assert checksums.encode([Path("/x/a.part0"), Path("/x/a.part1")], ["0" * 64, "1" * 64]) == (
        b"0" * 64 + b"  a.part0\n" + b"1" * 64 + b"  a.part1\n"
    )


@given(st.dictionaries(names, st.text("0123456789abcdef", min_size=64, max_size=64)))
def test_any_names_read_back(digests: dict[str, str]) -> None:
    assert checksums.decode(checksums.encode([Path(name) for name in digests], list(digests.values()))) == digests


def test_what_other_programs_write_is_read() -> None:
    data = b"0" * 64 + b" *binary.part0\r\n\n" + b"1" * 64 + b"  text.part1"
    assert checksums.decode(data) == {"binary.part0": "0" * 64, "text.part1": "1" * 64}


_pieces = st.sampled_from([b"0" * 64, b"a" * 64, b"  ", b" *", b"name", b"\\", b"\\n", b"\n", b"\r\n", b"/", b"\xff"])


@given(st.binary(max_size=200) | st.lists(_pieces, max_size=12).map(b"".join))
def test_any_bytes_are_read_or_a_value_error(data: bytes) -> None:
    found = attempt(lambda: checksums.decode(data), ValueError)
    for name, digest in (found or {}).items():
        assert "/" not in name
        assert len(bytes.fromhex(digest)) == 32
    if found is not None:
        assert checksums.decode(checksums.encode([Path(name) for name in found], list(found.values()))) == found


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense",
        b"0" * 63 + b"  a",
        b"0" * 64 + b" a",
        b"0" * 64 + b"  ../a",
        b"0" * 64 + b"  a\n" + b"1" * 64 + b"  a",
    ],
)
def test_anything_else_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        checksums.decode(data)
