"""A zip is read by its directory, none of which is believed."""

from __future__ import annotations

import random
import struct
import tempfile
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive import tar_header
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.zip import ZipLayout
from hangar_async.errors import ArchiveError
from tests.archive.samples import noise, text
from tests.fakes.sources import zipped

FILES: dict[str, bytes] = {
    "index.json": b"{}",
    "share/sha256/a": noise(70_000),
    "share/sha256/b": text(200_000),
    "e": b"",
}


def opened(path: Path, data: bytes) -> ZipLayout:
    path.write_bytes(data)
    return ZipLayout(find_volume(path))


def contents(layout: ZipLayout) -> dict[str, bytes]:
    return {file.name: b"".join(map(bytes, file.pieces)) for file in layout.files()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_all_files_are_read_whole_and_from_any_byte(tmp_path: Path, method: int) -> None:
    layout = opened(tmp_path / "a", zipped(FILES, method))
    assert contents(layout) == FILES
    assert layout.sizes() == {name: len(data) for name, data in FILES.items()}
    for start in (0, 1, 100_000, 200_000, 300_000):
        with layout.open("share/sha256/b", start) as reader:
            assert reader.readall() == FILES["share/sha256/b"][start:]


def test_sizes_of_more_than_four_bytes_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zipfile, "ZIP64_LIMIT", 1000)
    monkeypatch.setattr(zipfile, "ZIP_FILECOUNT_LIMIT", 1)
    data = zipped(FILES)
    assert b"PK\x06\x07" in data
    assert contents(opened(tmp_path / "a", data)) == FILES


def changed(data: bytes, old: bytes, new: bytes, last: bool = True) -> bytes:
    """Replace bytes where they stand last, in the directory, or first."""
    place = data.rfind(old) if last else data.find(old)
    assert place >= 0
    return data[:place] + new + data[place + len(old) :]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"index.json", b"../ex.json", "leads out"),
        (b"index.json", b"/ndex.json", "leads out"),
        (b"share/sha256/b", b"share/sha256/a", "is there twice"),
        (b"PK\x01\x02", b"PK\x01\x03", "is damaged"),
        (b"PK\x05\x06", b"PK\x05\x07", "its end is missing"),
        (struct.pack("<LL", 70_000, 70_000), struct.pack("<LL", 70_000, 70_001), "impossible position or size"),
        (struct.pack("<LL", 70_000, 70_000), struct.pack("<LL", 1 << 30, 1 << 30), "impossible position or size"),
        (struct.pack("<LL", 70_000, 70_000), struct.pack("<LL", 260_000, 260_000), "they overlap"),
    ],
)
def test_a_directory_that_lies_is_refused(tmp_path: Path, old: bytes, new: bytes, said: str) -> None:
    with pytest.raises(ArchiveError, match=said):
        opened(tmp_path / "a", changed(zipped(FILES), old, new))


def test_more_files_than_a_tar_may_have_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_header, "MAX_HEADERS", 3)
    monkeypatch.setattr(tar_header, "_BYTES_A_HEADER", 1 << 30)
    with pytest.raises(ArchiveError, match=r"it has \d files, and at most 3 are taken"):
        opened(tmp_path / "a", zipped(FILES))


def test_a_header_of_another_file_is_refused(tmp_path: Path) -> None:
    layout = opened(tmp_path / "a", changed(zipped(FILES), b"index.json", b"other.json", last=False))
    with pytest.raises(ArchiveError, match=r"not that of 'index\.json'"):
        layout.open("index.json")


@pytest.mark.parametrize("size", [100, 300_000])
def test_content_of_another_size_is_refused(tmp_path: Path, size: int) -> None:
    """Such as a bomb: no more than the size that was told is decoded."""
    data = zipped({"a": text(200_000)}, zipfile.ZIP_DEFLATED)
    layout = opened(tmp_path / "a", changed(data, struct.pack("<L", 200_000), struct.pack("<L", size)))
    with pytest.raises(ArchiveError), layout.open("a") as reader:
        reader.readall()


def test_other_methods_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArchiveError, match="compressed in a way"):
        opened(tmp_path / "a", zipped(FILES, zipfile.ZIP_BZIP2))


@given(st.integers(0, 2**32), st.integers(1, 4))
def test_any_damage_is_an_error_or_other_content(seed: int, count: int) -> None:
    chance, data = random.Random(seed), bytearray(zipped({"a": b"x" * 500, "b": b"y"}, zipfile.ZIP_DEFLATED))
    for _ in range(count):
        data[chance.randrange(len(data))] = chance.randrange(256)
    with tempfile.TemporaryDirectory() as directory, suppress(ArchiveError):
        contents(opened(Path(directory, "a"), bytes(data)))
