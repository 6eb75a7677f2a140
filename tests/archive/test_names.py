from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive.names import (
    ARCHIVE_INDEX,
    LINK,
    archive_path,
    checksums_path,
    decode_checksums,
    encode_checksums,
    incomplete_path,
    is_directory_name,
    is_file_name,
    part_number,
    part_paths,
)
from hangar_async.layout.files import CACHE_NAME, named_digest
from hangar_async.oci.digest import Digest
from tests.refusal import attempt

FOLDER = "f" * 64
_digests = st.builds(Digest.of, st.binary(max_size=3), st.sampled_from(["sha256", "sha512"]))
_pieces = st.sampled_from(
    ["saved-image-cache", "share", "sha256", "a" * 64, "..", ".", "", "index.json", "blobs", "A", "\n"]
)
_names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=40).filter(
    lambda name: name not in (".", "..") and name.strip()
)
_lines = st.sampled_from([b"0" * 64, b"a" * 64, b"  ", b" *", b"name", b"\\", b"\\n", b"\n", b"\r\n", b"/", b"\xff"])


@given(_digests)
def test_a_blob_has_the_name_of_its_digest(digest: Digest) -> None:
    name = f"share/{digest.algorithm}/{digest.hex}"
    assert is_file_name(f"{CACHE_NAME}/{name}")
    assert named_digest(name) == digest
    assert not is_file_name(f"{CACHE_NAME}/{name}\n")
    assert not is_file_name(f"{CACHE_NAME}/{name[:-1]}")
    assert not is_directory_name(f"{CACHE_NAME}/{name}")


@pytest.mark.parametrize(
    "name", ["index.json", "oci-layout", "saved-images-list.json", f"{FOLDER}/index.json", f"{FOLDER}/oci-layout"]
)
def test_other_files_have_no_digest(name: str) -> None:
    assert is_file_name(f"{CACHE_NAME}/{name}")
    assert named_digest(name) is None
    assert not is_file_name(name)


def test_the_link_is_neither_a_file_nor_a_directory() -> None:
    assert not is_file_name(LINK)
    assert not is_directory_name(LINK)
    assert is_file_name(ARCHIVE_INDEX)


@given(st.lists(_pieces, max_size=6).map("/".join) | st.text(max_size=100))
def test_any_accepted_name_stays_within_the_cache(name: str) -> None:
    if is_file_name(name) or is_directory_name(name):
        parts = name.split("/")
        assert parts[0] == CACHE_NAME
        assert len(parts) <= 5
        assert not {"", ".", ".."} & set(parts)
        assert name.isascii()
        assert name.isprintable()


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["a.part0"]),
        (10, [f"a.part{number}" for number in range(10)]),
        (11, [f"a.part{number:02}" for number in range(11)]),
        (101, [f"a.part{number:03}" for number in range(101)]),
    ],
)
def test_parts_are_named_in_the_order_of_their_names(count: int, names: list[str]) -> None:
    found = [path.name for path in part_paths(Path("dir/a"), count)]
    assert found == names == sorted(names)


@given(_names, st.integers(0, 10**9 - 1), st.integers(1, 9))
def test_the_name_of_a_part_has_the_name_of_its_archive_and_a_number(name: str, number: int, width: int) -> None:
    part = f"{name}.part{number:0{width}}"
    assert part_number(part, name) == number
    assert archive_path(Path("dir", part)) == Path("dir", name)
    assert part_number(part_paths(Path(name), 3)[2].name, name) == 2
    assert part_number(name, name) == part_number(part, part) == -1
    assert part_number(f"x{part}", name) is None


@pytest.mark.parametrize(
    "name", ["a", "a.part", ".part1", "a.part1x", "a.part-1", "a.part1234567890", "a.part1.sha256"]
)
def test_other_names_are_no_part(name: str) -> None:
    assert archive_path(Path(name)) == Path(name)
    assert part_number(name, "a") == (-1 if name == "a" else None)


def test_the_list_of_digests_stands_beside_the_archive() -> None:
    assert checksums_path(Path("dir/a.part3")) == Path("dir/a.part3.sha256")


def test_a_line_of_checksums_is_a_digest_and_the_name_alone() -> None:
    assert encode_checksums([Path("/x/a.part0"), Path("/x/a.part1")], ["0" * 64, "1" * 64]) == (
        b"0" * 64 + b"  a.part0\n" + b"1" * 64 + b"  a.part1\n"
    )


@given(st.dictionaries(_names, st.text("0123456789abcdef", min_size=64, max_size=64)))
def test_checksums_of_any_names_read_back(digests: dict[str, str]) -> None:
    assert decode_checksums(encode_checksums([Path(name) for name in digests], list(digests.values()))) == digests


def test_checksums_of_other_programs_are_read() -> None:
    data = b"0" * 64 + b" *binary.part0\r\n\n" + b"1" * 64 + b"  text.part1"
    assert decode_checksums(data) == {"binary.part0": "0" * 64, "text.part1": "1" * 64}


@given(st.binary(max_size=200) | st.lists(_lines, max_size=12).map(b"".join))
def test_any_bytes_are_checksums_or_a_value_error(data: bytes) -> None:
    found = attempt(lambda: decode_checksums(data), ValueError)
    for name, digest in (found or {}).items():
        assert "/" not in name
        assert len(bytes.fromhex(digest)) == 32
    if found is not None:
        assert decode_checksums(encode_checksums([Path(name) for name in found], list(found.values()))) == found


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
def test_wrong_checksums_are_refused(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode_checksums(data)


@pytest.mark.parametrize(
    ("name", "incomplete"),
    [
        ("saved-images.tar.gz", "saved-images.incomplete.tar.gz"),
        ("v1.2.tar.zstd", "v1.2.incomplete.tar.zstd"),
        ("out.tgz", "out.incomplete.tgz"),
        ("out.tar", "out.incomplete.tar"),
        ("backup", "backup.incomplete"),
        ("a\n.tar.gz", "a\n.incomplete.tar.gz"),
    ],
)
def test_the_name_of_an_incomplete_archive(name: str, incomplete: str) -> None:
    assert incomplete_path(Path("x") / name).name == incomplete
