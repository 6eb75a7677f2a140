import os
import struct
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.footer import SeekTable, compression_of, gzip_footer, read_seek_table, zstd_footer
from hangar_async.archive.read.parts import find_volume
from hangar_async.archive.read.volume import Volume
from tests.archive.samples import GZIP_MAGIC, noise, text, write

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_ends = st.one_of(
    st.binary(max_size=60),
    st.just(b"\x1f\x8b\x08\x04\0\0\0\0\0\xff\x1c\0HG\x18\0HGRSEEK1" + bytes(16) + b"\x03\0" + bytes(8)),
    st.integers(0, 1 << 32).map(lambda count: struct.pack("<IBI", count & 0xFFFFFFFF, 0, 0x8F92EAB1)),
    st.lists(st.tuples(*[st.integers(0, (1 << 32) - 1)] * 2), max_size=4).map(
        lambda frames: (
            struct.pack("<II", 0x184D2A5D, 24) + b"HGRSEEK1" + bytes(16)
            + struct.pack("<II", 0x184D2A5E, 9 + 8 * len(frames))
            + b"".join(struct.pack("<II", *frame) for frame in frames)
            + struct.pack("<IBI", len(frames), 0, 0x8F92EAB1)
        )
    ),
)  # fmt: skip


@contextmanager
def volume(data: bytes, part_size: int = 1 << 20) -> Iterator[Volume]:
    with tempfile.TemporaryDirectory() as directory:
        for number, start in enumerate(range(0, len(data), part_size)):
            Path(directory, f"a.part{number}").write_bytes(data[start : start + part_size])
        yield find_volume(Path(directory, "a"))


@given(st.sampled_from([b"", GZIP_MAGIC, ZSTD_MAGIC, b"x"]), st.binary(max_size=40), _ends, st.integers(1, 100))
def test_any_end_has_a_footer_or_none(start: bytes, middle: bytes, end: bytes, part_size: int) -> None:
    with volume(start + middle + end or b"x", part_size) as found:
        assert compression_of(found) in ("gzip", "zstd", None)
        for footer in (gzip_footer(found), zstd_footer(found)):
            assert footer is None or footer.payload() in end
        table = read_seek_table(found)
        frames = list(table.frames())
        assert len(frames) <= len(end) // 8
        assert [start + length for start, length, _ in frames[:-1]] == [start for start, _, _ in frames[1:]]
        assert table.jump(0, 0)[1] == 0


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize("part_size", [None, 7, 1000])
def test_a_footer_is_found_across_parts(tmp_path: Path, kind: str, part_size: int | None) -> None:
    write(tmp_path / "a", kind, [noise(3000)], part_size=part_size, sync=False)
    archive = open_archive(tmp_path / ("a.part0" if part_size == 1000 else "a"))
    footer = {"gzip": gzip_footer, "zstd": zstd_footer}[kind](archive.volume)
    assert footer == archive.footer
    assert footer is not None
    assert 0 < footer.offset < footer.offset + footer.length < archive.volume.size


def test_the_seek_table_counts_the_frames(tmp_path: Path) -> None:
    write(tmp_path / "a", "zstd", [noise(3000), text(5_000_000)], sync=False)
    found = find_volume(tmp_path / "a")
    frames = list(read_seek_table(found).frames())
    for start, _, content in frames:
        assert found.read(start, 4) == (ZSTD_MAGIC if content else b"\x5d\x2a\x4d\x18")


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(0, 1000)), max_size=12), st.data())
def test_a_jump_goes_by_whole_frames_as_far_as_it_may(frames: list[tuple[int, int]], data: st.DataObject) -> None:
    table = SeekTable(b"".join(struct.pack("<II", *frame) for frame in frames))
    starts = [sum(size for size, _ in frames[:number]) for number in range(len(frames) + 1)]
    contents = [sum(size for _, size in frames[:number]) for number in range(len(frames) + 1)]
    here = data.draw(st.integers(0, len(frames)))
    count = data.draw(st.integers(0, 5000))
    far, content = table.jump(starts[here], count)
    there = starts.index(starts[here] + far)
    assert contents[there] - contents[here] == content <= count
    if there < len(frames):
        assert contents[there + 1] - contents[here] > count
    between = data.draw(st.integers(0, sum(size for size, _ in frames)))
    if between not in starts:
        assert table.jump(between, count) == (0, 0)
    assert all(first < second for first, second in pairwise(starts))


def test_a_seek_table_longer_than_its_field_can_say_is_none(tmp_path: Path) -> None:
    """An archive of more than 4 GiB can end with such a count."""
    with (tmp_path / "a").open("wb") as file:
        file.truncate(5 << 30)
        file.seek(0, os.SEEK_END)
        file.write(struct.pack("<IBI", (1 << 29) + 1, 0, 0x8F92EAB1))
    assert zstd_footer(find_volume(tmp_path / "a")) is None
