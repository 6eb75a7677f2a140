import json
import os
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings, strategies as st

from hangar_async.archive import formats, index
from hangar_async.archive.entries import ArchiveEntry
from hangar_async.archive.formats import RAW_FRAME, raw_offset
from hangar_async.archive.index import Footer
from hangar_async.archive.read import check
from hangar_async.archive.read.archive import (
    Archive,
    SeekTable,
    compression_of,
    gzip_footer,
    open_archive,
    read_seek_table,
    zstd_footer,
)
from hangar_async.archive.read.decode import PieceReader
from hangar_async.archive.read.layout import stream_files
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.volume import Volume, Window
from hangar_async.errors import ArchiveError
from hangar_async.oci.digest import Digest
from tests.archive.read.rig import PIECEWISE
from tests.archive.samples import (
    BLOBS,
    GZIP_MAGIC,
    KINDS,
    MIB,
    ROOT,
    blob_path,
    content,
    first_entry,
    joined,
    noise,
    text,
    unpacked,
    with_index,
    write,
)

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


_places = st.sampled_from([0, 1, *range(MIB - 1, len(PIECEWISE), MIB), *range(MIB, len(PIECEWISE), MIB)])
_places |= st.integers(0, len(PIECEWISE))


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
        assert table.pieces(ArchiveEntry("blob", Digest.of(b""), 0, 0, 0, "zstd"), 0) is None


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
    for start, _, size in frames:
        assert found.read(start, 4) == (ZSTD_MAGIC if size else b"\x5d\x2a\x4d\x18")


@given(st.lists(st.tuples(st.integers(1, 1000), st.integers(1, 1000)), min_size=2, max_size=12), st.data())
def test_the_frames_of_a_file_begin_with_that_of_any_byte(frames: list[tuple[int, int]], data: st.DataObject) -> None:
    table = SeekTable(b"".join(struct.pack("<II", *frame) for frame in frames))
    starts = [sum(size for size, _ in frames[:number]) for number in range(len(frames) + 1)]
    contents = [sum(size for _, size in frames[:number]) for number in range(len(frames) + 1)]
    first, last = sorted(data.draw(st.lists(st.integers(0, len(frames)), min_size=2, max_size=2)))
    length, size = starts[last] - starts[first], contents[last] - contents[first]
    entry = ArchiveEntry("blob", Digest.of(b""), size, starts[first], length, "zstd")
    start = data.draw(st.integers(0, size))
    found = table.pieces(entry, start)
    if last - first < 2:
        assert found is None
        return
    assert found is not None
    offset, content, pieces = found
    middle = starts.index(entry.offset + offset)
    assert (contents[middle] - contents[first], content <= start) == (content, True)
    assert start < contents[middle + 1] - contents[first] or start == size
    expected = zip(starts[middle + 1 : last + 1], [size for _, size in frames[middle:last]], strict=True)
    assert list(pieces) == list(expected)
    for changed in (replace(entry, size=size + 1), replace(entry, offset=entry.offset + 1), replace(entry, length=1)):
        assert table.pieces(changed, start) is None


def test_a_seek_table_longer_than_its_field_can_say_is_none(tmp_path: Path) -> None:
    """An archive of more than 4 GiB can end with such a count."""
    with (tmp_path / "a").open("wb") as file:
        file.truncate(5 << 30)
        file.seek(0, os.SEEK_END)
        file.write(struct.pack("<IBI", (1 << 29) + 1, 0, 0x8F92EAB1))
    assert zstd_footer(find_volume(tmp_path / "a")) is None


def test_every_file_is_read_at_its_offset(archive: Archive) -> None:
    for data in BLOBS:
        entry = archive.entries[blob_path(data)]
        assert content(archive, entry) == data
        assert archive.read(entry, len(data)) == data
    assert archive.index is not None
    assert [entry.name for entry in archive.index.entries] == [*map(blob_path, BLOBS), f"{ROOT}/{'f' * 64}/index.json"]


def test_a_file_is_read_from_any_byte_on(archive: Archive) -> None:
    for data in BLOBS:
        entry = archive.entries[blob_path(data)]
        for start in {0, 1, 65534, 65535, 65536, 2 * MIB, 2 * MIB + 1, len(data) // 2, len(data) - 1, len(data)}:
            if 0 <= start <= len(data):
                assert content(archive, entry, start) == data[start:]
        assert content(archive, entry, len(data) + 1) == b""


def test_one_blob_of_many_costs_little_more_than_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [noise(MIB, seed=seed) for seed in range(40)]
    for kind in KINDS:
        write(tmp_path / "a", kind, blobs, part_size=7 * MIB, sync=False)
        touched = 0
        readv, read = os.preadv, os.pread

        def counting(file: int, buffers: Sequence[Any], offset: int) -> int:
            nonlocal touched
            count = readv(file, buffers, offset)  # noqa: B023
            touched += count
            return count

        def reading(file: int, size: int, offset: int) -> bytes:
            nonlocal touched
            data = read(file, size, offset)  # noqa: B023
            touched += len(data)
            return data

        monkeypatch.setattr(os, "preadv", counting)
        monkeypatch.setattr(os, "pread", reading)
        archive = open_archive(tmp_path / "a")
        assert content(archive, archive.entries[blob_path(blobs[25])]) == blobs[25]
        assert MIB <= touched < MIB + 64_000
        touched = 0
        assert content(archive, archive.entries[blob_path(blobs[26])], MIB - 100) == blobs[26][-100:]
        assert touched < (100_000 if kind == "gzip" else MIB + 64_000)
        monkeypatch.undo()


def test_a_range_of_a_large_zstd_blob_skips_whole_frames(tmp_path: Path) -> None:
    data = text(9 * MIB)
    write(tmp_path / "a", "zstd", [data])
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    with archive.open(entry, 7 * MIB) as reader:
        assert reader._window.tell() < entry.length / 2
        assert reader.readall() == data[7 * MIB :]


@pytest.mark.parametrize("kind", [*KINDS, "earlier"])
@settings(max_examples=40, deadline=None)
@given(start=_places, count=_places)
def test_any_range_is_that_of_the_content(piecewise: dict[str, Archive], kind: str, start: int, count: int) -> None:
    archive = piecewise[kind]
    entry = archive.entries[blob_path(PIECEWISE)]
    assert bool(entry.pieces) == (kind == "gzip")
    with archive.open(entry, start) as reader:
        assert reader.read(count) == PIECEWISE[start : start + count]


@pytest.mark.parametrize("kind", KINDS)
def test_the_last_byte_of_a_large_file_costs_a_piece(
    piecewise: dict[str, Archive], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = piecewise[kind]
    entry = archive.entries[blob_path(PIECEWISE)]
    read, decoded = 0, 0
    window_read, readinto = Window.read, PieceReader.readinto

    def reading(self: Window, size: int = -1) -> bytes:
        nonlocal read
        data = window_read(self, size)
        read += len(data)
        return data

    def decoding(self: PieceReader, buffer: memoryview) -> int:
        nonlocal decoded
        count = readinto(self, buffer)
        decoded += count
        return count

    monkeypatch.setattr(Window, "read", reading)
    monkeypatch.setattr(PieceReader, "readinto", decoding)
    with archive.open(entry, entry.size - 1) as reader:
        assert reader.readall() == PIECEWISE[-1:]
    piece = {"gzip": MIB, "zstd": 2 * MIB}[kind]
    assert 0 < decoded <= piece
    assert read <= piece * entry.length // entry.size + 100_000


@settings(max_examples=60, deadline=None)
@given(cuts=st.lists(st.integers(1, 200_000), max_size=3), kept=st.integers(0, 3), starts=st.lists(_places, max_size=3))
def test_wrong_pieces_give_the_bytes_of_the_whole_or_an_error(
    piecewise: dict[str, Archive], cuts: list[int], kept: int, starts: list[int]
) -> None:
    archive = piecewise["gzip"]
    entry = archive.entries[blob_path(PIECEWISE)]
    pieces = sorted({*entry.pieces[:kept], *(entry.pieces[kept - 1] + cut for cut in cuts)})[: len(entry.pieces)]
    wrong = replace(entry, pieces=tuple(pieces))
    try:
        whole = content(archive, wrong)
    except ArchiveError:
        return
    for start in starts:
        assert content(archive, wrong, start) == whole[start:]


def test_a_piece_that_ends_within_a_block_is_refused(tmp_path: Path) -> None:
    """Decoded alone its content is whole, and a program that decodes the whole archive finds another one."""
    first, last = formats.deflate(bytes(MIB), 1), formats.deflate(b"content", 1)
    header = formats.STORED_HEADER.pack(0, len(last), len(last) ^ 0xFFFF)
    data = first + header + last
    (tmp_path / "a").write_bytes(data + b"\0")
    archive = Archive(find_volume(tmp_path / "a"), "gzip", None)
    entry = ArchiveEntry("blob", Digest.of(b""), MIB + 7, 0, len(data), "deflate", (len(first) + len(header),))
    with pytest.raises(ArchiveError, match=r"end within a block|damaged before here"):
        content(archive, entry)
    assert len(zlib.decompressobj(-15).decompress(data)) == MIB + len(last)


def test_a_wrong_table_of_frames_gives_no_other_bytes(tmp_path: Path) -> None:
    """Its frames are those of every reading, so that the digest of the whole is about all ranges."""
    data = text(6 * MIB)
    write(tmp_path / "a", "zstd", [data], sync=False)
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    found = [(length, size) for _, length, size in read_seek_table(archive.volume).frames()]
    number = next(number for number, (_, size) in enumerate(found) if size == 2 * MIB)
    for sizes in ([MIB, 2 * MIB, 3 * MIB], [3 * MIB, 2 * MIB, MIB], [6 * MIB, 0, 0]):
        frames = list(found)
        frames[number : number + 3] = [
            (length, size) for (length, _), size in zip(frames[number:], sizes, strict=False)
        ]
        archive._seek_table = SeekTable(b"".join(struct.pack("<II", *frame) for frame in frames))
        with pytest.raises(ArchiveError, match="has another size than the archive says"):
            content(archive, entry)


def test_raw_frames_are_read_from_any_byte_on(tmp_path: Path) -> None:
    data = noise(RAW_FRAME + 300_001)
    write(tmp_path / "a", "zstd", [data], sync=False)
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    assert archive._is_raw(entry)
    ends = [start + step for start in (131_072, RAW_FRAME, RAW_FRAME + 131_072, len(data) - 1) for step in (-1, 0, 1)]
    for start in (0, *ends):
        with archive.open(entry, start) as reader:
            assert reader.read(100) == data[start : start + 100]
    with archive.open(entry, RAW_FRAME - 200_000) as reader:
        assert reader.readall() == data[RAW_FRAME - 200_000 :]


def test_compressed_content_is_not_raw(tmp_path: Path) -> None:
    data = text(300_000)
    write(tmp_path / "a", "zstd", [data], sync=False)
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    assert not archive._is_raw(entry)
    # Not even when the length happens to be that of raw frames.
    size = entry.length - 13
    assert raw_offset(size) == entry.length
    wrong = ArchiveEntry(entry.name, entry.digest, size, entry.offset, entry.length, entry.encoding)
    assert not archive._is_raw(wrong)


def test_a_file_above_the_limit_is_refused(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="more than the 100 expected"):
        archive.read(archive.entries[blob_path(BLOBS[0])], 100)


def test_an_archive_of_another_program_has_no_index(tmp_path: Path) -> None:
    tar = unpacked(joined(write(tmp_path / "a", "gzip")))
    (tmp_path / "b").write_bytes(zlib.compress(tar, wbits=31))
    (tmp_path / "c").write_bytes(zstandard.ZstdCompressor().compress(tar))
    for name, kind in (("b", "gzip"), ("c", "zstd")):
        archive = open_archive(tmp_path / name)
        assert (archive.index, archive.compression, dict(archive.entries)) == (None, kind, {})
        assert len(list(stream_files(archive))) == 4


@pytest.mark.parametrize("data", [b"x", b"ustar", b"\x1f\x8b", b"PK" + bytes(600)])
def test_a_file_of_another_format_is_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArchiveError, match="neither a tar, plain or compressed, nor a zip"):
        open_archive(tmp_path / "a")


@pytest.mark.parametrize("size", [1, 512, 10240])
def test_a_tar_without_files_is_told(tmp_path: Path, size: int) -> None:
    (tmp_path / "a").write_bytes(bytes(size))
    with pytest.raises(ArchiveError, match="begins with zeros: it has no files"):
        open_archive(tmp_path / "a")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_found_or_harmless(kind: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        blobs = [noise(3000), text(5000), b"", bytes(20_000)]
        stream = bytearray(joined(write(Path(directory, "a"), kind, blobs, sync=False)))
        position = data.draw(st.integers(0, len(stream) - 1))
        stream[position] ^= 1 << data.draw(st.integers(0, 7))
        Path(directory, "b").write_bytes(stream)
        try:
            archive = open_archive(Path(directory, "b"))
            check.check_index(archive)
            for entry in archive.entries.values():
                archive.read(entry, entry.size)
        except ArchiveError:
            return
        for blob in blobs if archive.index is not None else ():
            assert content(archive, archive.entries[blob_path(blob)]) == blob


CHANGES: dict[str, Any] = {
    "version": lambda document: document.update(version=2),
    "compression": lambda document: document.update(compression="xz"),
    "no entries": lambda document: document.pop("entries"),
    "wrong types": lambda document: document.update(entries={}),
    "deep": lambda document: document.update(entries=[json.loads("[" * 900 + "]" * 900)]),
    "twice": lambda document: document["entries"].append(document["entries"][-1]),
    "upwards": first_entry(name=f"{ROOT}/../x"),
    "absolute": first_entry(name="/etc/passwd"),
    "foreign name": first_entry(name=f"{ROOT}/share/sha256/x"),
    "itself": first_entry(name=f"{ROOT}/archive-index.json"),
    "digest of another": first_entry(digest="sha256:" + "0" * 64),
    "no digest": first_entry(digest="md5:" + "0" * 32),
    "negative size": first_entry(size=-1),
    "huge size": first_entry(size=1 << 63),
    "negative offset": first_entry(offset=-1),
    "after the end": first_entry(offset=1 << 40),
    "longer than the archive": first_entry(length=1 << 40),
    "overlap": lambda document: document["entries"][1].update(offset=document["entries"][0]["offset"]),
    "unknown encoding": first_entry(encoding="none"),
    "pieces that are no list": first_entry(size=MIB + 1, length=9, encoding="deflate", pieces=5),
    "pieces of other types": first_entry(size=MIB + 1, length=9, encoding="deflate", pieces=["5"]),
    "no pieces": first_entry(size=MIB + 1, length=9, encoding="deflate", pieces=None),
    "pieces of what is stored": first_entry(size=MIB + 1, length=9, encoding="stored", pieces=[5]),
    "too few pieces": first_entry(size=2 * MIB + 1, length=9, encoding="deflate", pieces=[5]),
    "too many pieces": first_entry(size=MIB, length=9, encoding="deflate", pieces=[5]),
    "pieces of nothing": first_entry(size=0, length=0, encoding="deflate", pieces=[]),
    "pieces without end": first_entry(size=1 << 62, length=9, encoding="deflate", pieces=[5]),
    "a piece at the start": first_entry(size=MIB + 1, length=9, encoding="deflate", pieces=[0]),
    "a piece before the start": first_entry(size=MIB + 1, length=9, encoding="deflate", pieces=[-1]),
    "a piece after the end": first_entry(size=MIB + 1, length=9, encoding="deflate", pieces=[9]),
    "pieces at one place": first_entry(size=3 * MIB, length=9, encoding="deflate", pieces=[5, 5]),
    "pieces in another order": first_entry(size=3 * MIB, length=9, encoding="deflate", pieces=[6, 5]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_wrong_index_is_refused(tmp_path: Path, kind: str, change: Any) -> None:
    path = with_index(tmp_path, kind, change)
    with pytest.raises(ArchiveError, match="index is wrong") as caught:
        open_archive(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_the_other_format_is_refused(tmp_path: Path, kind: str) -> None:
    other = {"gzip": "zstd", "zstd": "gzip"}[kind]
    path = with_index(tmp_path, kind, lambda document: document.update(compression=other, entries=[]))
    with pytest.raises(ArchiveError, match=f"of a {other} archive"):
        open_archive(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("footer", [Footer(1 << 62, 10), Footer(0, 1 << 62), Footer(10, 0), Footer((1 << 64) - 1, 1)])
def test_a_wrong_footer_is_refused(tmp_path: Path, kind: str, footer: Footer) -> None:
    with pytest.raises(ArchiveError, match="impossible position"):
        open_archive(with_index(tmp_path, kind, lambda _: None, footer))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"size": 2999}, "more than its 2999 bytes"),
        ({"size": 3001}, "1 bytes too early"),
        ({"size": 10 << 30}, "too early"),
        ({"length": 10}, "too early|are not stored blocks"),
        ({"length": 0}, "too early"),
    ],
)
def test_a_wrong_entry_is_an_error_when_it_is_read(
    tmp_path: Path, kind: str, changes: dict[str, int], problem: str
) -> None:
    archive = open_archive(with_index(tmp_path, kind, first_entry(**changes)))
    entry = archive.entries[blob_path(noise(3000))]
    with archive.open(entry) as reader, pytest.raises(ArchiveError, match=problem):
        while reader.read(1 << 16):
            pass
    with pytest.raises(ArchiveError):
        archive.open(entry, 2 << 30 if entry.size > 1 << 31 else 2999).readall()
    with pytest.raises(ArchiveError):
        check.check_index(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "MAX_INDEX", MIB)
    path = with_index(tmp_path, kind, lambda document: document.update(more="x" * 40 * MIB))
    with pytest.raises(ArchiveError, match="index is too large"):
        open_archive(path)
