from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from hangar_async.errors import StorageError
from hangar_async.layout.directory import DirectoryLayout, FileReader
from hangar_async.oci.digest import Digest
from tests.layout.rig import BLOB, LARGE


def test_regular_files_are_listed(root: Path) -> None:
    sizes = DirectoryLayout(root).sizes()
    assert sizes == {BLOB: 4, LARGE: 256 * 12_345, "index.json": 2, f"{'f' * 64}/index.json": 2, "empty": 0}
    assert list(sizes) == sorted(sizes)


def test_files_are_read_in_pieces(root: Path) -> None:
    found = {}
    for file in DirectoryLayout(root).files():
        pieces = [bytes(piece) for piece in file.pieces]
        assert all(0 < len(piece) <= 1 << 20 for piece in pieces)
        found[file.name] = b"".join(pieces)
        assert len(found[file.name]) == file.size
    assert found.keys() == DirectoryLayout(root).sizes().keys()
    assert found[LARGE] == (root / LARGE).read_bytes()


def test_blobs_promise_a_digest(root: Path) -> None:
    promised = {file.name: file.digest for file in DirectoryLayout(root).files()}
    assert promised[BLOB] == Digest.of(b"blob")
    assert promised[LARGE] == Digest("sha512", "a" * 128)
    assert promised["index.json"] is None


def test_files_are_chosen_by_their_names(root: Path) -> None:
    chosen = [file.name for file in DirectoryLayout(root).files(["index.json", "none", BLOB, "../x", "link.json"])]
    assert chosen == ["index.json", BLOB]


def test_a_file_that_became_a_link_is_not_followed(root: Path, tmp_path: Path) -> None:
    layout = DirectoryLayout(root)
    assert BLOB in layout.sizes()
    (root / BLOB).unlink()
    (root / BLOB).symlink_to(tmp_path / "secret")
    (tmp_path / "secret").write_text("secret")
    (file,) = layout.files([BLOB])
    with pytest.raises(StorageError, match=f"cannot read .*{BLOB}"):
        list(file.pieces)


def test_a_file_or_directory_that_is_gone_is_a_storage_error(root: Path) -> None:
    layout = DirectoryLayout(root)
    assert BLOB in layout.sizes()
    (root / BLOB).unlink()
    (file,) = layout.files([BLOB])
    with pytest.raises(StorageError, match="No such file"):
        list(file.pieces)
    with pytest.raises(StorageError, match="cannot read"):
        DirectoryLayout(root / "none").sizes()


def read(reader: FileReader, count: int = 1 << 20) -> bytes:
    buffer = memoryview(bytearray(count))
    with closing(reader):
        return bytes(buffer[: reader.readinto(buffer)])


def test_a_file_is_read_from_any_byte_on(root: Path) -> None:
    layout = DirectoryLayout(root)
    data = (root / LARGE).read_bytes()
    for start in (0, 1, 1_000_000, len(data) - 1, len(data), len(data) + 5):
        assert read(layout.open(LARGE, start), 100) == data[start : start + 100]


def test_a_file_that_changes_while_it_is_read_is_noticed(root: Path, tmp_path: Path) -> None:
    layout = DirectoryLayout(root)
    reader, same = layout.open(BLOB), layout.open(BLOB, 2)
    with closing(reader), closing(same):
        reader.check()
        assert reader.identity == same.identity
        (root / BLOB).write_bytes(b"BLOB")
        with pytest.raises(StorageError, match="was changed while it was read"):
            reader.check()
        with closing(layout.open(BLOB)) as other:
            assert other.identity != reader.identity
        (root / BLOB).unlink()
        with pytest.raises(StorageError, match="No such file"):
            reader.check()
        (root / BLOB).symlink_to(tmp_path)
        with pytest.raises(StorageError, match="was changed"):
            reader.check()
    with pytest.raises(StorageError, match="cannot read"):
        layout.open(BLOB)
    reader.close()
    with pytest.raises(StorageError, match="cannot read"):
        reader.readinto(memoryview(bytearray(1)))
