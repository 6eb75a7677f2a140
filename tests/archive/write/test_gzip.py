import struct
import zlib
from pathlib import Path

import pytest

from tests.archive.samples import (
    INDEX,
    MIB,
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
