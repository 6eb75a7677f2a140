import struct
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.oci.digest import Digest
from tests.archive.samples import INDEX, MIB, ROOT, contents, index_of, joined, noise, text, unpacked, write


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
