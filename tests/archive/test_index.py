import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive import index
from hangar_async.archive.entries import ArchiveEntry, PackedEntries
from hangar_async.archive.index import ArchiveIndex, Footer
from hangar_async.oci.digest import Digest
from tests.archive.samples import MIB, ROOT, EncodedIndex, encoded_index
from tests.refusal import attempt

_entries = st.lists(
    st.tuples(
        st.builds(Digest.of, st.binary(max_size=3), st.sampled_from(["sha256", "sha512"])),
        *[st.integers(0, 1 << 40)] * 3,
        st.sampled_from(["stored", "deflate"]),
    ),
    max_size=6,
    unique_by=lambda values: values[0],
)


def test_an_index_reads_back() -> None:
    entries = tuple(
        ArchiveEntry(
            f"{ROOT}/share/sha512/{str(number) * 128}", Digest("sha512", str(number) * 128), number, number, 1, "zstd"
        )
        for number in range(10)
    )
    assert index.decode(encoded_index("zstd", entries), 100).entries == entries


@given(_entries)
def test_any_index_reads_back(values: list[tuple[Digest, int, int, int, Any]]) -> None:
    entries, position = [], 0
    for digest, size, gap, length, encoding in values:
        name = f"{ROOT}/share/{digest.algorithm}/{digest.hex}"
        entries.append(ArchiveEntry(name, digest, size, position + gap, length, encoding))
        position += gap + length
    assert index.decode(encoded_index("gzip", entries), position) == ArchiveIndex("gzip", PackedEntries(entries))
    if position and entries[-1].length:
        with pytest.raises(ValueError, match="impossible position"):
            index.decode(encoded_index("gzip", entries), position - 1)


@given(st.binary(max_size=200))
def test_an_index_of_any_bytes_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        index.decode(data, 1000)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["gzip", "stored", "sha256:" + "a" * 64]),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["version", "compression", "entries", "name", "digest", "size", "offset", "length", "encoding"]
                ),
                below,
            )
        ),
        max_leaves=12,
    )
)
def test_an_index_of_any_values_is_read_or_a_value_error(value: Any) -> None:
    decoded = attempt(lambda: index.decode(json.dumps(value).encode("utf-8", "surrogatepass"), 1000), ValueError)
    assert decoded is None or not decoded.entries


def test_an_index_of_many_small_entries_takes_little_memory() -> None:
    entry = b'{"name":"ab","digest":"ab","size":0,"offset":0,"length":0,"encoding":"zstd"},'
    raw = b'{"version":1,"compression":"zstd","entries":[' + entry * 400_000 + entry[:-1] + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 2,097,152 values"):
            index.decode(raw, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


@given(st.integers(0, (1 << 64) - 1), st.integers(0, (1 << 64) - 1))
def test_a_footer_reads_back(offset: int, length: int) -> None:
    assert Footer.of(Footer(offset, length).payload()) == Footer(offset, length)


@given(st.binary(max_size=24).filter(lambda payload: not payload.startswith(b"HGRSEEK1")))
def test_other_bytes_are_no_footer(payload: bytes) -> None:
    assert Footer.of(payload) is None
    assert Footer.of(Footer(1, 2).payload()) == Footer(1, 2)
    assert Footer.of(Footer(1, 2).payload() + b"x") is None


def test_the_size_of_an_index_is_known_while_entries_are_added() -> None:
    encoder = EncodedIndex("gzip")
    for number in range(3):
        assert encoder.size == len(encoder.content())
        digest = Digest.of(bytes([number]))
        encoder.add(ArchiveEntry(f"{ROOT}/share/sha256/{digest.hex}", digest, number, number, 1, "stored"))
    assert encoder.size == len(encoder.content())


@given(
    size=st.integers(0, 5 * MIB),
    length=st.integers(0, 1000),
    pieces=st.lists(st.integers(-1, 1001), max_size=6) | st.sets(st.integers(1, 999), max_size=5).map(sorted),
    encoding=st.sampled_from(["stored", "deflate"]),
)
def test_pieces_are_read_where_a_file_can_have_them(size: int, length: int, pieces: list[int], encoding: Any) -> None:
    digest = Digest.of(b"")
    entry = ArchiveEntry(f"{ROOT}/share/sha256/{digest.hex}", digest, size, 7, length, encoding, tuple(pieces))
    possible = encoding == "deflate" and len(pieces) == (size - 1) // MIB and [*pieces, length] == sorted(
        {*pieces, length} - {0, -1}
    )  # fmt: skip
    raw = encoded_index("gzip", [entry])
    assert (b"pieces" in raw) == bool(pieces)
    if possible or not pieces:
        assert index.decode(raw, 2000).entries == (entry,)
    else:
        with pytest.raises(ValueError, match=r"pieces at impossible positions|>= 0"):
            index.decode(raw, 2000)


def test_a_writer_counts_the_values_that_a_reader_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = ArchiveEntry(
        f"{ROOT}/oci-layout", Digest.of(b""), 60 * MIB, 0, 60_000, "deflate", tuple(range(1000, 60_000, 1000))
    )
    encoder = EncodedIndex("gzip")
    encoder.add(entry)
    encoder.add(ArchiveEntry(f"{ROOT}/index.json", Digest.of(b""), 1, 60_000, 1, "deflate"))
    raw = encoder.content()
    for values in range(60, 80):
        monkeypatch.setattr(index, "_BYTES_A_VALUE", index.most_bytes(60_100) // values)
        if encoder.fits(60_100):
            assert len(index.decode(raw, 60_100).entries) == 2
        else:
            with pytest.raises(ValueError, match="values"):
                index.decode(raw, 60_100)
    assert encoder.fits(60_100)


def test_the_pieces_that_a_small_archive_claims_take_little_memory() -> None:
    pieces = b",".join(b"%d" % number for number in range(1_000_000))
    entry = (
        b'{"name":"ab","digest":"ab","size":0,"offset":0,"length":0,"encoding":"deflate","pieces":[' + pieces + b"]}"
    )
    raw = b'{"version":1,"compression":"gzip","entries":[' + entry + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 10,064 values"):
            index.decode(raw, 10_000_000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < len(raw) + MIB


def test_a_file_of_a_tebibyte_may_have_all_its_pieces() -> None:
    pieces = tuple(range(1000, 1000 << 20, 1000))
    entry = ArchiveEntry(f"{ROOT}/oci-layout", Digest.of(b""), MIB << 20, 0, 1000 << 20, "deflate", pieces)
    encoder = EncodedIndex("gzip")
    encoder.add(entry)
    assert encoder.fits(1000 << 20)
    assert index.decode(encoder.content(), 1000 << 20).entries == (entry,)


def test_the_index_of_a_large_archive_may_be_larger() -> None:
    assert index.most_bytes(0) == index.most_bytes(1 << 20) == 64 * MIB
    assert index.most_bytes(100 * MIB) == 200 * MIB
    assert index.most_bytes(1 << 50) == index.MAX_INDEX
