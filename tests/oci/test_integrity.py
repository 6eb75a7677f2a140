from __future__ import annotations

import io
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from hangar_async.errors import DigestMismatch
from hangar_async.oci.digest import Digest
from hangar_async.oci.integrity import Verifier, read_pieces, verified

DATA = b"some bytes of a blob"
DIGEST = Digest.of(DATA)


@given(st.binary(max_size=50), st.lists(st.integers(0, 50), max_size=5), st.sampled_from(["sha256", "sha512"]))
def test_content_passes_unchanged_in_any_pieces(data: bytes, cuts: list[int], algorithm: str) -> None:
    places = sorted({0, len(data), *(min(cut, len(data)) for cut in cuts)})
    pieces = [data[start:stop] for start, stop in pairwise(places)]
    assert b"".join(map(bytes, verified(pieces, Digest.of(data, algorithm), len(data)))) == data


@given(st.binary(min_size=1, max_size=50), st.data())
def test_any_other_content_is_refused(data: bytes, draw: st.DataObject) -> None:
    other = draw.draw(st.binary(max_size=50).filter(lambda other: other != data))
    with pytest.raises(DigestMismatch):
        list(verified([other], Digest.of(data), len(data)))


def test_a_piece_that_exceeds_the_size_is_not_passed_on() -> None:
    pieces = verified([b"abc", b"def"], None, 5, "a file")
    assert next(pieces) == b"abc"
    with pytest.raises(DigestMismatch, match="a file is larger than the 5 bytes declared"):
        next(pieces)


@pytest.mark.parametrize(
    ("pieces", "digest", "size", "text"),
    [
        ([DATA[:-1]], DIGEST, len(DATA), f"x has {len(DATA) - 1} bytes instead of {len(DATA)}"),
        ([], DIGEST, len(DATA), f"x has 0 bytes instead of {len(DATA)}"),
        ([DATA[::-1]], DIGEST, len(DATA), f"x is damaged: its bytes have the digest {Digest.of(DATA[::-1])}"),
        ([DATA[::-1]], DIGEST, None, "x is damaged"),
    ],
)
def test_the_message_names_the_difference(pieces: list[bytes], digest: Digest, size: int | None, text: str) -> None:
    with pytest.raises(DigestMismatch, match=text) as caught:
        list(verified(pieces, digest, size, "x", "do this"))
    assert caught.value.digest == str(digest)
    assert caught.value.advice == "do this"


def test_without_digest_and_size_everything_passes() -> None:
    assert list(verified([DATA], None, None)) == [DATA]


def test_a_verifier_tells_the_state_so_far() -> None:
    verifier = Verifier(DIGEST, len(DATA))
    assert not verifier.matches
    verifier.update(DATA)
    assert (verifier.matches, verifier.digest, verifier.count) == (True, DIGEST, len(DATA))
    assert Verifier(None, None).digest is None


def test_a_reader_is_read_through_one_buffer() -> None:
    class Reader:
        def __init__(self) -> None:
            self.file = io.BytesIO(DATA)

        def readinto(self, buffer: memoryview, /) -> int:
            return self.file.readinto(buffer)

    assert [bytes(piece) for piece in read_pieces(Reader(), memoryview(bytearray(8)))] == [
        DATA[:8], DATA[8:16], DATA[16:],
    ]  # fmt: skip
