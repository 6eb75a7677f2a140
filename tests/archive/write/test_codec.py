import struct
import zlib
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.config.output import LEVELS
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
