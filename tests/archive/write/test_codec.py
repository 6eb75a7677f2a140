import errno
import os
import struct
import threading
import zlib
from itertools import pairwise
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st
from isal import isal_zlib

from hangar_async.archive.write.codec import CompressionWorkers, Input, bytes_input, open_input
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.config.output import LEVELS
from hangar_async.errors import StorageError
from hangar_async.oci.digest import Digest
from tests.archive.samples import (
    INDEX,
    KINDS,
    MIB,
    ROOT,
    blob_path,
    contents,
    decoded,
    index_of,
    joined,
    noise,
    text,
    unpacked,
    write,
)


def read(source: Input, sizes: list[int]) -> list[bytes]:
    """Fill views of these sizes at once."""
    buffers = [bytearray(size) for size in sizes]
    source.read_into([memoryview(buffer) for buffer in buffers])
    return [bytes(buffer) for buffer in buffers]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    return [data[sum(sizes[:number]) : sum(sizes[: number + 1])] for number in range(len(sizes))]


@given(st.lists(st.integers(0, 50), max_size=6))
def test_bytes_fill_several_views_in_order(sizes: list[int]) -> None:
    data = noise(sum(sizes))
    source = bytes_input(data)
    assert source.size == len(data)
    assert source.head(1 << 20) == data
    assert read(source, sizes) == cut(data, sizes)
    assert source.head(5) == data[:5]


def test_a_file_fills_several_views_in_order(tmp_path: Path) -> None:
    data = noise(1000)
    (tmp_path / "source").write_bytes(data)
    readings: list[int] = []
    with open_input(tmp_path / "source", 1000, lambda: readings.append(1)) as source:
        assert source.head(6) == data[:6]
        assert read(source, [1, 0, 299]) == cut(data, [1, 0, 299])
        assert source.head(2000) == data
        assert read(source, [700]) == [data[300:]]
    assert len(readings) == 2


def test_the_file_is_closed_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    before = os.listdir("/dev/fd")
    with pytest.raises(ZeroDivisionError), open_input(tmp_path / "source", 4, lambda: None):
        raise ZeroDivisionError
    assert os.listdir("/dev/fd") == before


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(noise(1000))
    with (
        pytest.raises(StorageError, match="has 600 bytes, not the 1000 that it was said to have"),
        open_input(path, 1000, lambda: None) as source,
    ):
        read(source, [500])
        os.truncate(path, 600)
        read(source, [500])


def test_a_file_that_grows_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"data")
    with (
        pytest.raises(StorageError, match="has 8 bytes, not the 4 that it was said to have"),
        open_input(path, 4, lambda: None) as source,
    ):
        read(source, [4])
        path.write_bytes(b"datadata")


@pytest.mark.parametrize("size", [99_999, 100_001, 0])
@pytest.mark.parametrize("data", [noise(100_000), text(100_000)], ids=["stored", "compressed"])
def test_a_source_of_another_size_breaks_the_archive(tmp_path: Path, data: bytes, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    writer = ArchiveWriter(tmp_path / "a", "gzip")
    with pytest.raises(StorageError, match=f"has 100000 bytes, not the {size}"):
        writer.add_file("blob", source, size, digest=Digest.of(data), compressed=True)
    with pytest.raises(StorageError, match="broken"):
        writer.commit()
    writer.discard()
    assert os.listdir(tmp_path) == ["source"]


def test_a_missing_or_linked_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("link", "missing"):
        with (
            ArchiveWriter(tmp_path / "a", "gzip") as writer,
            pytest.raises(StorageError, match=f"cannot read .*{name}"),
        ):
            writer.add_file("blob", tmp_path / name, 0, digest=Digest.of(b""), compressed=True)


@given(st.binary(max_size=50), st.integers(1, 9), st.integers(1, 5))
def test_pieces_come_in_their_order_for_any_number_of_workers(data: bytes, size: int, workers: int) -> None:
    pool = CompressionWorkers(lambda piece: bytes(piece)[::-1], size, workers)
    try:
        pieces = [(bytes(piece), unit) for piece, unit in pool.units(bytes_input(data))]
    finally:
        pool.close()
    expected = [data[start : start + size] for start in range(0, len(data), size)]
    assert pieces == [(piece, piece[::-1]) for piece in expected]


def test_a_single_piece_is_compressed_without_another_thread() -> None:
    pool = CompressionWorkers(lambda _: threading.current_thread().name.encode(), 10, 2)
    ((piece, name),) = pool.units(bytes_input(b"0123456789"))
    assert (bytes(piece), name.decode()) == (b"0123456789", threading.current_thread().name)
    pool.close()


def test_an_error_of_compressing_is_raised_and_the_threads_end() -> None:
    def compress(piece: memoryview) -> bytes:
        raise ValueError(bytes(piece))

    before = threading.active_count()
    pool = CompressionWorkers(compress, 1, 2)
    with pytest.raises(ValueError, match="a"):
        list(pool.units(bytes_input(b"abc")))
    pool.close()
    pool.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("call", ["pread", "readv"])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    (tmp_path / "source").write_bytes(b"data")
    with (
        pytest.raises(StorageError, match=r"cannot read .*source: Input/output error"),
        open_input(tmp_path / "source", 4, lambda: None) as source,
    ):
        source.head(4)
        read(source, [4])


def test_workers_are_counted_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    pool = CompressionWorkers(bytes, 2)
    assert [unit for _, unit in pool.units(bytes_input(b"abc"))] == [b"ab", b"c"]
    pool.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("data", "compressed", "stays"),
    [
        (noise(200_000), True, True),
        (noise(200_000), False, True),
        (text(200_000), True, False),
        (text(200_000), False, False),
        (noise(3 * MIB) + text(MIB), False, True),
        (b"", False, True),
    ],
    ids=["compressed", "says it is not", "says it is", "text", "starts compressed", "empty"],
)
def test_content_is_stored_where_compressing_does_not_pay(
    tmp_path: Path, kind: str, data: bytes, compressed: bool, stays: bool
) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    with ArchiveWriter(tmp_path / "a", kind) as writer:
        writer.add_file("blob", source, len(data), digest=Digest.of(data), compressed=compressed)
        stream = joined(writer.commit())
    entry = index_of(contents(unpacked(stream)))["entries"][0]
    assert decoded(stream, entry) == data
    assert (entry["length"] >= len(data)) == stays
    if kind == "gzip":
        assert entry["encoding"] == ("stored" if stays else "deflate")


@pytest.mark.parametrize(
    ("kind", "level"),
    [(kind, level) for kind, (lowest, highest) in LEVELS.items() for level in range(lowest, highest + 1)],
)
def test_every_level_reads_back(tmp_path: Path, kind: str, level: int) -> None:
    content = [text(1_500_000), noise(1000)]
    stream = joined(write(tmp_path / "a", kind, content, level=level))
    assert contents(unpacked(stream))[blob_path(content[0])] == content[0]


def test_higher_levels_make_smaller_archives(tmp_path: Path) -> None:
    for name, levels in (("gzip", (0, 1, 6)), ("zstd", (1, 3, 19))):
        found = [write(tmp_path / "a", name, [text(2 * MIB)], level=level).size for level in levels]
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == len(found)


def test_an_archive_names_its_compressor(tmp_path: Path) -> None:
    assert write(tmp_path / "a", "gzip").compressor.startswith("isal ")
    assert write(tmp_path / "a", "zstd").compressor == f"zstandard {zstandard.__version__}"


def test_the_tar_is_in_the_first_member_and_the_footer_in_a_second(tmp_path: Path) -> None:
    stream = joined(write(tmp_path / "a.tar.gz", "gzip"))
    inflate = zlib.decompressobj(31)
    tar = inflate.decompress(stream)
    assert len(tar) % 10240 == 0
    footer = inflate.unused_data
    assert len(footer) == 50
    assert zlib.decompress(footer, 31) == b""
    assert footer[12:16] == b"HG\x18\x00"
    magic, offset, length = struct.unpack("<8sQQ", footer[16:40])
    assert magic == b"HGRSEEK1"
    assert zlib.decompress(stream[offset : offset + length] + b"\x03\0", -15) == contents(tar)[INDEX]


def test_the_first_member_has_the_checksum_and_the_size_of_the_tar(tmp_path: Path) -> None:
    stream = joined(write(tmp_path / "a", "gzip", [noise(3 * MIB), text(3 * MIB), b""]))
    tar = unpacked(stream)
    assert struct.unpack("<II", stream[-58:-50]) == (zlib.crc32(tar), len(tar))
    assert stream[:10] == b"\x1f\x8b\x08\0\0\0\0\0\0\xff"


@pytest.mark.parametrize("size", [1, 65535, 65536, 3 * MIB])
def test_stored_content_is_cut_into_blocks_of_65535_bytes(tmp_path: Path, size: int) -> None:
    data = noise(size)
    stream = joined(write(tmp_path / "a", "gzip", [data]))
    entry = index_of(contents(unpacked(stream)))["entries"][0]
    blocks = [data[start : start + 65535] for start in range(0, size, 65535)]
    expected = b"".join(struct.pack("<BHH", 0, len(block), len(block) ^ 0xFFFF) + block for block in blocks)
    assert stream[entry["offset"] : entry["offset"] + entry["length"]] == expected


def test_level_0_stores_all(tmp_path: Path) -> None:
    data = text(200_000)
    stream = joined(write(tmp_path / "a", "gzip", [data], level=0))
    entry = index_of(contents(unpacked(stream)))["entries"][0]
    assert (entry["name"], entry["encoding"], decoded(stream, entry)) == (blob_path(data), "stored", data)


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("level", [1, 6])
@pytest.mark.parametrize("size", [1, MIB - 1, MIB, MIB + 1, 3 * MIB, 3 * MIB + 5])
def test_the_index_has_the_start_of_each_mib_of_deflated_content(
    tmp_path: Path, size: int, level: int, workers: int
) -> None:
    data = text(size) if size > 1 else bytes(1000)
    written = write(tmp_path / "a", "gzip", [data, noise(3 * MIB)], level=level, workers=workers, sync=False)
    stream = joined(written)
    entry, stored, _ = index_of(contents(unpacked(stream)))["entries"]
    pieces = entry.get("pieces", [])
    assert ("pieces" in entry) == (size > MIB)
    assert "pieces" not in stored
    bounds = [0, *pieces, entry["length"]]
    units = [stream[entry["offset"] + start : entry["offset"] + end] for start, end in pairwise(bounds)]
    expected = [data[start : start + MIB] for start in range(0, len(data), MIB)]
    for library in (zlib, isal_zlib):
        # Neither library needs anything from before the start of a piece.
        assert [library.decompressobj(-15).decompress(unit) for unit in units] == expected


def test_a_zstd_index_has_no_pieces(tmp_path: Path) -> None:
    stream = joined(write(tmp_path / "a", "zstd", [text(5 * MIB)], sync=False))
    assert not any("pieces" in entry for entry in index_of(contents(unpacked(stream)))["entries"])


def test_the_seek_table_counts_every_frame(tmp_path: Path) -> None:
    content = [noise(3 * MIB), text(5 * MIB), b""]
    stream = joined(write(tmp_path / "a.tar.zst", "zstd", content))
    count, descriptor, magic = struct.unpack("<IBI", stream[-9:])
    assert (descriptor, magic) == (0, 0x8F92EAB1)
    start = len(stream) - 9 - 8 * count
    assert struct.unpack("<II", stream[start - 8 : start]) == (0x184D2A5E, 8 * count + 9)
    position, pieces = 0, []
    for compressed, size in struct.iter_unpack("<II", stream[start:-9]):
        frame = stream[position : position + compressed]
        if frame.startswith(b"\x28\xb5\x2f\xfd"):
            parameters = zstandard.get_frame_parameters(frame)
            assert parameters.content_size == size
            assert parameters.window_size <= 8 * MIB
            pieces.append(zstandard.ZstdDecompressor().decompress(frame, max_output_size=size))
        position += compressed
    assert position == start - 8
    assert struct.unpack("<II8s", frame[:16]) == (0x184D2A5D, 24, b"HGRSEEK1")
    assert b"".join(pieces) == unpacked(stream)
    offset, length = struct.unpack("<QQ", frame[16:])
    assert (
        zstandard.ZstdDecompressor().decompress(stream[offset : offset + length]) == contents(b"".join(pieces))[INDEX]
    )


def test_large_raw_content_is_cut_into_frames_of_64_mib(tmp_path: Path) -> None:
    source = tmp_path / "blob"
    with source.open("wb") as file:
        file.write(noise(10))
        file.truncate(65 * MIB)
    with ArchiveWriter(tmp_path / "a", "zstd", sync=False) as writer:
        writer.add_file(f"{ROOT}/blob", source, 65 * MIB, digest=Digest.of(b""), compressed=True)
        stream = joined(writer.commit())
    second = stream.index(b"\x28\xb5\x2f\xfd\x80\x38") + 10 + 512 * (128 * 1024 + 3)
    assert stream[second : second + 6] == b"\x28\xb5\x2f\xfd\x80\x38"
    assert int.from_bytes(stream[second + 6 : second + 10], "little") == MIB
    assert len(unpacked(stream)) > 65 * MIB


@pytest.mark.parametrize("size", [1, 2 * MIB, 2 * MIB + 1, 5 * MIB])
def test_compressed_content_is_cut_into_frames_of_2_mib_with_checksums(tmp_path: Path, size: int) -> None:
    data = text(size) if size > 1 else b"x" * 1000
    stream = joined(write(tmp_path / "a", "zstd", [data]))
    entry = index_of(contents(unpacked(stream)))["entries"][0]
    packed = stream[entry["offset"] : entry["offset"] + entry["length"]]
    frames = []
    while packed:
        parameters = zstandard.get_frame_parameters(packed)
        assert parameters.has_checksum
        decompress = zstandard.ZstdDecompressor().decompressobj()
        frames.append(decompress.decompress(packed))
        assert len(frames[-1]) == parameters.content_size
        packed = decompress.unused_data
    assert frames == [data[start : start + 2 * MIB] for start in range(0, len(data), 2 * MIB)]
