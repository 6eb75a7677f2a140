"""A layout is found by its path: an archive, any of its parts, or a directory."""

from pathlib import Path

import pytest

from hangar_async.archive.read.layout import IndexedLayout, StreamedLayout
from hangar_async.engine.open_layout import find_archive, layout_at, seekable_layout_at
from hangar_async.errors import ArchiveError, StorageError, UsageError
from hangar_async.layout.directory import DirectoryLayout
from tests.engine.forms import Saved, parts


def test_a_directory_is_no_archive_and_has_a_layout_of_files(everything: Saved) -> None:
    path = everything.at("dir")
    assert find_archive(path) is None
    assert isinstance(layout_at(path, None, lambda: None), DirectoryLayout)
    assert isinstance(seekable_layout_at(path), DirectoryLayout)


@pytest.mark.parametrize("form", ["gzip", "zstd", "gzip-3", "zstd-12"])
def test_an_archive_with_index_is_read_in_any_order(everything: Saved, form: str) -> None:
    path = everything.at(form)
    archive = find_archive(path)
    assert archive is not None
    assert archive.compression == form.partition("-")[0]
    assert isinstance(layout_at(path, archive, lambda: None), IndexedLayout)
    assert isinstance(seekable_layout_at(path), IndexedLayout)


def test_any_part_names_its_archive(everything: Saved) -> None:
    files = parts(everything.at("gzip-3"))
    for part in files:
        archive = find_archive(part)
        assert archive is not None
        assert [one.path for one in archive.volume.parts] == files


def test_an_archive_without_index_is_read_in_one_pass(everything: Saved) -> None:
    path = everything.at("hangar-gzip")
    archive = find_archive(path)
    assert isinstance(layout_at(path, archive, lambda: None), StreamedLayout)
    with pytest.raises(UsageError, match="has no index of its files") as caught:
        seekable_layout_at(path)
    assert "decompress" in caught.value.advice


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no "):
        find_archive(tmp_path / "none.tar.gz")


@pytest.mark.parametrize("name", ["a[1].tar.gz", "a*.tar.gz", "a?.tar.gz"])
def test_letters_of_patterns_in_a_name_stand_for_themselves(everything: Saved, tmp_path: Path, name: str) -> None:
    for number, part in enumerate(parts(everything.at("gzip-3"))):
        (tmp_path / f"{name}.part{number}").write_bytes(part.read_bytes())
    assert find_archive(tmp_path / name) is not None
    with pytest.raises(UsageError):
        find_archive(tmp_path / name.replace("a", "b"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ArchiveError):
        find_archive(tmp_path / "text")


def test_a_path_that_cannot_be_looked_at_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        find_archive(tmp_path / ("x" * 300))
