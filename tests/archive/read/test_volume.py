from __future__ import annotations

import hashlib
import io
import os
import shutil
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async import filesystem
from hangar_async.archive.names import encode_checksums
from hangar_async.archive.read import volume as module
from hangar_async.archive.read.volume import Volume, find_volume
from hangar_async.errors import ArchiveError, StorageError
from tests.archive.read.rig import DATA
from tests.archive.samples import joined, noise, write


@given(start=st.integers(0, 1100), count=st.integers(0, 1100))
def test_any_range_is_read(volume: Volume, start: int, count: int) -> None:
    assert volume.read(start, count) == DATA[start : start + count]


@given(
    start=st.integers(0, 1000),
    length=st.integers(0, 1000),
    steps=st.lists(st.one_of(st.integers(0, 300), st.tuples(st.integers(-500, 500), st.sampled_from([0, 1, 2])))),
)
def test_a_window_is_like_a_file(volume: Volume, start: int, length: int, steps: list[int | tuple[int, int]]) -> None:
    data = DATA[start : start + length]
    model = io.BytesIO(data)
    with volume.open(start, start + len(data)) as window:
        for step in steps:
            if isinstance(step, int):
                assert window.read(step) == model.read(step)
            else:
                offset, whence = step
                base = {0: 0, 1: model.tell(), 2: len(data)}[whence]
                assert window.seek(offset, whence) == model.seek(max(0, base + offset))
            assert window.tell() == model.tell()


def test_a_change_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / f"a.part{number}").write_bytes(DATA)
    volume = find_volume(tmp_path / "a")
    with volume.open() as window:
        window.read(10)
        (tmp_path / "new").write_bytes(DATA)
        (tmp_path / "new").rename(tmp_path / "a.part1")
        with pytest.raises(ArchiveError, match=r"a\.part1 has changed since"):
            window.readall()
    with volume.open() as window:
        window.read(10)
        os.truncate(tmp_path / "a.part0", 500)
        with pytest.raises(ArchiveError, match=r"a\.part0: ends too early.*byte 500"):
            window.readall()


def test_a_closed_window_leaves_no_file_open(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"a.part{number}").write_bytes(DATA)
    before = os.listdir("/dev/fd")
    volume = find_volume(tmp_path / "a")
    with volume.open() as window:
        window.read(2500)
        assert len(os.listdir("/dev/fd")) == len(before) + 1
    window.close()
    assert os.listdir("/dev/fd") == before


def test_a_window_can_be_buffered(volume: Volume) -> None:
    with volume.open(10, 900) as window, io.BufferedReader(window) as file:
        assert file.seekable()
        assert file.seek(5) == 5
        assert file.read() == DATA[15:900]


def test_the_end_of_a_volume_is_read(volume: Volume) -> None:
    assert volume.read_end(3) == DATA[-3:]
    assert volume.read_end(2000) == DATA


def names(directory: Path, given: str) -> list[str]:
    return [part.path.name for part in find_volume(directory / given).parts]


def parts(directory: Path, count: int, size: int = 100, base: str = "a", width: int = 1) -> list[str]:
    """Files as Hangar makes them: parts of equal size, the last one shorter, and no list of digests."""
    made = [f"{base}.part{number:0{width}}" for number in range(count)]
    for name in made:
        (directory / name).write_bytes(noise(size if name != made[-1] else size // 2))
    return made


@pytest.mark.parametrize("given", ["a", "a.part0", "a.part7", "a.part99"])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("part_size", [40_000, 10_000])
def test_any_name_of_an_archive_finds_all_parts(tmp_path: Path, given: str, listed: bool, part_size: int) -> None:
    written = write(tmp_path / "a", "gzip", [noise(150_000)], part_size=part_size)
    if not listed:
        (tmp_path / "a.sha256").unlink()
    volume = find_volume(tmp_path / given)
    assert [part.path for part in volume.parts] == list(written.files)
    assert volume.size == written.size
    assert volume.read(0, written.size + 1) == joined(written)
    assert volume.path == tmp_path / "a"
    assert all((part.digest is not None) == listed for part in volume.parts)


def test_one_file_is_found_by_its_name(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip")
    assert find_volume(tmp_path / "a").size == written.size
    (tmp_path / "a.sha256").unlink()
    assert names(tmp_path, "a") == ["a"]


@pytest.mark.parametrize(("count", "width"), [(1, 1), (3, 1), (11, 1), (12, 2), (101, 1), (101, 3)])
def test_parts_are_ordered_by_their_numbers(tmp_path: Path, count: int, width: int) -> None:
    made = parts(tmp_path, count, width=width)
    assert names(tmp_path, "a") == made


def test_a_name_with_dots_and_parts_in_it(tmp_path: Path) -> None:
    made = parts(tmp_path, 3, base="x.part1.tar.gz")
    parts(tmp_path, 2, base="x")
    assert names(tmp_path, "x.part1.tar.gz") == made
    assert names(tmp_path, "x.part1.tar.gz.part2") == made
    assert names(tmp_path, "x") == ["x.part0", "x.part1"]


def test_an_archive_that_has_the_name_of_a_part(tmp_path: Path) -> None:
    write(tmp_path / "a.part3", "gzip")
    assert names(tmp_path, "a.part3") == ["a.part3"]


@pytest.mark.parametrize("missing", ["a.part0", "a.part1", "a.part3"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_missing_part_is_named(tmp_path: Path, missing: str, listed: bool) -> None:
    write(tmp_path / "a", "gzip", [noise(180_000)], part_size=40_000)
    (tmp_path / missing).unlink()
    if not listed:
        (tmp_path / "a.sha256").unlink()
    with pytest.raises(ArchiveError, match=f"{missing} is missing") as caught:
        find_volume(tmp_path / "a")
    assert caught.value.path == str(tmp_path / missing)


def test_a_missing_last_part_is_named_by_the_list_of_digests(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip", [noise(180_000)], part_size=40_000)
    written.files[-1].unlink()
    with pytest.raises(ArchiveError, match=f"{written.files[-1].name} is missing"):
        find_volume(tmp_path / "a")


@pytest.mark.parametrize(("number", "size"), [(0, 99), (2, 101), (4, 101), (3, 0)])
def test_a_part_of_another_size_is_named(tmp_path: Path, number: int, size: int) -> None:
    made = parts(tmp_path, 5)
    (tmp_path / made[number]).write_bytes(bytes(size))
    with pytest.raises(ArchiveError, match=f"a.part{number} has {size} bytes"):
        find_volume(tmp_path / "a")


def test_an_empty_part_is_named(tmp_path: Path) -> None:
    made = parts(tmp_path, 3)
    (tmp_path / made[-1]).write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"a\.part2 is empty"):
        find_volume(tmp_path / "a")


def test_parts_of_a_longer_run_are_strays(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip", [noise(120_000)], part_size=40_000)
    strays = [tmp_path / name for name in ("a.part00", "a.part7", "a.part9")]
    for path in strays:
        path.write_bytes(noise(40_000))
    volume = find_volume(tmp_path / "a")
    assert [part.path for part in volume.parts] == list(written.files)
    assert set(volume.strays) == set(strays)
    with pytest.raises(ArchiveError, match=r"a\.part7 is not of the archive that a\.sha256 lists"):
        find_volume(tmp_path / "a.part7")
    (tmp_path / "a").write_bytes(noise(40_000))
    with pytest.raises(ArchiveError, match="a is not of the archive that"):
        find_volume(tmp_path / "a")


def test_without_a_list_of_digests_a_left_over_part_is_found_by_its_size(tmp_path: Path) -> None:
    parts(tmp_path, 4)
    (tmp_path / "a.part4").write_bytes(noise(100))
    with pytest.raises(ArchiveError, match=r"a\.part3 has 50 bytes"):
        find_volume(tmp_path / "a")


def test_two_parts_of_one_number_are_named(tmp_path: Path) -> None:
    parts(tmp_path, 3)
    parts(tmp_path, 3, width=2)
    with pytest.raises(ArchiveError, match=r"a\.part00? is there beside a\.part00?"):
        find_volume(tmp_path / "a")


def test_an_archive_beside_left_over_parts_is_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(noise(10))
    made = parts(tmp_path, 2)
    volume = find_volume(tmp_path / "a")
    assert [part.path.name for part in volume.parts] == ["a"]
    assert [path.name for path in volume.strays] == made


@pytest.mark.parametrize("text", ["rubbish", f"{'0' * 64}  other\n", f"{'0' * 64}  a.part1\n", "\xff" * 10])
def test_a_list_of_digests_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    parts(tmp_path, 2)
    (tmp_path / "a.sha256").write_text(text, encoding="latin-1")
    with pytest.raises(ArchiveError, match=r"a\.sha256"):
        find_volume(tmp_path / "a")


def test_a_missing_file_or_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        find_volume(tmp_path / "a")
    with pytest.raises(StorageError, match="No such file"):
        find_volume(tmp_path / "none" / "a")
    (tmp_path / "a").mkdir()
    with pytest.raises(ArchiveError, match="is not a file"):
        find_volume(tmp_path / "a")


def test_links_to_parts_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in parts(tmp_path / "disk", 3):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    assert find_volume(tmp_path / "a").read(0, 1000) == find_volume(tmp_path / "disk" / "a").read(0, 1000)
    shutil.rmtree(tmp_path / "disk")
    with pytest.raises(StorageError):
        find_volume(tmp_path / "a")


def hide(monkeypatch: pytest.MonkeyPatch, hidden: set[str]) -> None:
    """Leave names out of the lists of directories, as a file system does with other spellings of a name."""
    file_names = filesystem.file_names
    monkeypatch.setattr(module, "file_names", lambda directory: [n for n in file_names(directory) if n not in hidden])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("given", ["Whole.tar", "Whole.tar.part1"])
def test_an_archive_is_found_by_another_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, listed: bool
) -> None:
    found = parts(tmp_path, 3 if "part" in given else 1, base="whole.tar")
    if "part" not in given:
        found = [(tmp_path / found[0]).rename(tmp_path / "whole.tar").name]
    if listed:
        digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in found]
        content = encode_checksums([tmp_path / name for name in found], digests)
        (tmp_path / "whole.tar.sha256").write_bytes(content)
    others = {name.replace("whole", "Whole") for name in found}
    for name in found:
        (tmp_path / name.replace("whole", "Whole")).hardlink_to(tmp_path / name)
    hide(monkeypatch, others)
    for name in {given, "Whole.tar"}:
        volume = find_volume(tmp_path / name)
        assert [part.path.name for part in volume.parts] == found
        assert all((part.digest is not None) == listed for part in volume.parts)


def test_a_list_of_digests_with_another_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole.tar").write_bytes(b"1")
    (tmp_path / "Whole.tar").hardlink_to(tmp_path / "whole.tar")
    (tmp_path / "whole.tar.sha256").write_text(f"{'0' * 64}  Whole.tar\n")
    hide(monkeypatch, {"Whole.tar"})
    (part,) = find_volume(tmp_path / "whole.tar").parts
    assert (part.path.name, part.digest) == ("whole.tar", "0" * 64)


def test_a_list_of_digests_has_a_bounded_size(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    line = b"0" * 64 + b"  a.tar.gz\n"
    (tmp_path / "a.tar.gz.sha256").write_bytes(line * ((16 << 20) // len(line) + 1))
    with pytest.raises(ArchiveError, match="is damaged: it has more than 16,777,216 bytes"):
        find_volume(tmp_path / "a.tar.gz")
