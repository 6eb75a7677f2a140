"""Entries of an index, packed."""

import sys
from typing import Any

from hypothesis import given, strategies as st

from hangar_async.archive.entries import ArchiveEntry, EntriesByName, PackedEntries, Sizes
from hangar_async.archive.names import PREFIX
from hangar_async.oci import Digest

_digests = st.builds(Digest.of, st.binary(max_size=3), st.sampled_from(["sha256", "sha512"]))
_hex = st.binary(max_size=2).map(lambda data: Digest.of(data).hex)
_names = st.one_of(
    st.text(),
    _digests.map(lambda digest: f"{PREFIX}share/{digest.algorithm}/{digest.hex}"),
    _hex.map(lambda digits: f"{PREFIX}{digits}/index.json"),
    _hex.map(lambda digits: f"{PREFIX}{digits}/oci-layout"),
    _hex.map(lambda digits: f"{PREFIX}{digits.upper()}/index.json"),
)
_numbers = st.integers(0, 1 << 62)
_pieces = st.lists(_numbers, max_size=3).map(tuple)
_encodings: Any = st.sampled_from(["stored", "deflate", "zstd"])
_entries = st.builds(ArchiveEntry, _names, _digests, _numbers, _numbers, _numbers, _encodings, _pieces)


@given(st.lists(_entries, unique_by=lambda entry: entry.name), _names)
def test_they_are_as_they_were_and_found_by_name(entries: list[ArchiveEntry], other: str) -> None:
    packed = PackedEntries(entries)
    assert list(packed) == entries
    assert packed == tuple(entries)
    assert packed[1:] == tuple(entries[1:])
    by_name = EntriesByName(packed)
    assert dict(by_name) == {entry.name: entry for entry in entries}
    assert (other in by_name) == (other in {entry.name for entry in entries})
    own = [entry for entry in entries if entry.name.startswith(PREFIX)]
    for found in (by_name, {entry.name: entry for entry in entries}):
        sizes = Sizes(found)
        assert [sizes[entry.name.removeprefix(PREFIX)] for entry in own] == [entry.size for entry in own]
        assert len(sizes) == len(entries)
        assert sizes.get("no such name") is None


def test_many_take_about_a_hundred_bytes_each() -> None:
    digests = [Digest.of(b"%d" % number) for number in range(3000)]
    entries = [ArchiveEntry(f"{PREFIX}share/sha256/{one.hex}", one, 1, 2, 3, "stored") for one in digests]
    packed = PackedEntries(entries)
    assert list(packed) == entries
    assert all(packed.find(entry.name) == number for number, entry in enumerate(entries))
    held = [value for value in vars(packed).values() if not isinstance(value, dict)]
    assert sum(map(sys.getsizeof, held)) < 120 * len(entries)
