from __future__ import annotations

import io
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.volume import Volume, first_of
from hangar_async.errors import ArchiveError
from tests.archive.read.rig import DATA


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


def test_a_file_that_gets_its_temporary_name_back_during_the_search_is_found(tmp_path: Path) -> None:
    temporary, path = tmp_path / ".a.tmp", tmp_path / "a"
    path.write_bytes(DATA)

    def look(name: Path) -> bytes:
        if name == path:
            path.rename(temporary)
        return name.read_bytes()

    assert first_of(look, temporary, path) == DATA


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
