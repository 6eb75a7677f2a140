import pytest
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.archive.names import ARCHIVE_INDEX, LINK, blob_digest, is_directory_name, is_file_name
from hangar_async.layout.files import CACHE_NAME
from hangar_async.layout.protocols import promised_digest
from hangar_async.oci.digest import Digest

FOLDER = "f" * 64
_digests = st.builds(Digest.of, st.binary(max_size=3), st.sampled_from(["sha256", "sha512"]))
_pieces = st.sampled_from(
    ["saved-image-cache", "share", "sha256", "a" * 64, "..", ".", "", "index.json", "blobs", "A", "\n"]
)


@given(_digests)
def test_a_blob_has_the_name_of_its_digest(digest: Digest) -> None:
    name = f"share/{digest.algorithm}/{digest.hex}"
    assert is_file_name(f"{CACHE_NAME}/{name}")
    assert blob_digest(f"{CACHE_NAME}/{name}") == digest == promised_digest(name)
    assert not is_file_name(f"{CACHE_NAME}/{name}\n")
    assert not is_file_name(f"{CACHE_NAME}/{name[:-1]}")
    assert not is_directory_name(f"{CACHE_NAME}/{name}")


@pytest.mark.parametrize(
    "name", ["index.json", "oci-layout", "saved-images-list.json", f"{FOLDER}/index.json", f"{FOLDER}/oci-layout"]
)
def test_other_files_have_no_digest(name: str) -> None:
    assert is_file_name(f"{CACHE_NAME}/{name}")
    assert blob_digest(f"{CACHE_NAME}/{name}") is None
    assert not is_file_name(name)


def test_the_link_is_neither_a_file_nor_a_directory() -> None:
    assert not is_file_name(LINK)
    assert not is_directory_name(LINK)
    assert is_file_name(ARCHIVE_INDEX)


@given(st.lists(_pieces, max_size=6).map("/".join) | st.text(max_size=100))
def test_any_name_that_is_taken_stays_within_the_cache(name: str) -> None:
    if is_file_name(name) or is_directory_name(name):
        parts = name.split("/")
        assert parts[0] == CACHE_NAME
        assert len(parts) <= 5
        assert not {"", ".", ".."} & set(parts)
        assert name.isascii()
        assert name.isprintable()
