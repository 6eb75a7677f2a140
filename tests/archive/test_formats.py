import gzip
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st

from hangar_async.archive import formats
from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.layout import stream_files
from tests.archive.samples import BLOBS, MIB, blob_path, content, contents, joined, noise, text, unpacked, write


@given(st.lists(st.binary(max_size=300), max_size=4), st.integers(0, 9))
def test_deflated_pieces_join_to_one_stream(pieces: list[bytes], level: int) -> None:
    stream = b"".join(formats.deflate(piece, level) for piece in pieces)
    assert zlib.decompress(stream + formats.LAST_BLOCK, -zlib.MAX_WBITS) == b"".join(pieces)
    assert formats.inflater().decompress(stream) == b"".join(pieces)


@given(st.binary(max_size=300), st.integers(0, (1 << 32) - 1))
def test_the_checksum_is_that_of_zlib(data: bytes, start: int) -> None:
    assert formats.crc32(data, start) == zlib.crc32(data, start)


def test_the_footer_of_gzip_is_an_empty_member() -> None:
    member = formats.FOOTER_MEMBER_START + bytes(formats.FOOTER_SIZE) + formats.FOOTER_MEMBER_END
    assert gzip.decompress(member) == b""
    assert (len(member), member[12:16]) == (50, b"HG\x18\x00")


def test_hashing_after_relaxing_is_right() -> None:
    formats.relax()
    assert hashlib.sha256(b"").hexdigest().startswith("e3b0c442")


@pytest.mark.parametrize("level", [0, 1, 3, 4, 9])
def test_a_level_names_its_library(level: int) -> None:
    assert formats.compressor_name(level).startswith("isal " if 1 <= level <= 3 else "zlib ")


def test_without_isal_zlib_compresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "FAST_LEVELS", range(0))
    blobs = [text(3 * MIB), noise(MIB)]
    written = write(tmp_path / "a", "gzip", blobs)
    assert written.compressor.startswith("zlib ")
    assert contents(unpacked(joined(written)))[blob_path(blobs[1])] == blobs[1]


def test_without_isal_zlib_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "gzip", BLOBS)
    monkeypatch.setattr("hangar_async.archive.formats._fast", zlib)
    monkeypatch.setattr("hangar_async.archive.formats._gzip_file", gzip.GzipFile)
    archive = open_archive(tmp_path / "a")
    streamed = {file.name: file.readall() for file in stream_files(archive)}
    for data in BLOBS:
        assert content(archive, archive.entries[blob_path(data)]) == streamed[blob_path(data)] == data


_edges = st.sampled_from(
    [
        0,
        1,
        65534,
        65535,
        65536,
        131070,
        131071,
        131072,
        131073,
        MIB,
        formats.RAW_FRAME - 1,
        formats.RAW_FRAME,
        formats.RAW_FRAME + 1,
    ]
)
_sizes = _edges | st.integers(0, 3 * formats.RAW_FRAME)


def wrapped(data: bytes, blocks: Iterator[formats.Block]) -> bytes:
    stream, position = b"", 0
    for header, count in blocks:
        stream += header + data[position : position + count]
        position += count
    return stream


@given(_sizes, _sizes)
def test_blocks_from_any_byte_are_the_end_of_all_blocks(size: int, start: int) -> None:
    start = min(start, size)
    for blocks, offset in ((formats.stored_blocks, formats.stored_offset), (formats.raw_blocks, formats.raw_offset)):
        rest = list(blocks(size, start))
        assert sum(count for _, count in rest) == size - start
        assert sum(len(header) + count for header, count in rest) == offset(size) - offset(start)
        # The blocks after the first one are the same from the start on.
        assert rest[1:] == list(blocks(size))[-len(rest) + 1 :] or len(rest) < 2
        assert all(0 < len(header) <= formats.MAX_HEADER for header, _ in rest[1:])
    assert formats.stored_size(formats.stored_offset(size)) == size


@pytest.mark.parametrize("size", [1, 65535, 65536, 300_000])
def test_other_decoders_read_the_blocks(size: int) -> None:
    data = noise(size)
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(wrapped(data, formats.stored_blocks(size))) == data
    decoder = zstandard.ZstdDecompressor().stream_reader(
        wrapped(data, formats.raw_blocks(size)), read_across_frames=True
    )
    assert decoder.read() == data


#: Texts of words, as configs and manifests are, and noise; compressed at the default levels of an archive.
COMPRESS = """
import hashlib, random
import zstandard
from hangar_async.archive import formats
source = random.Random(1)
words = [source.randbytes(4).hex() for _ in range(500)]
data = "".join(source.choices(words, k=50_000)).encode() + source.randbytes(100_000)
print(*(hashlib.sha256(formats.deflate(data, level)).hexdigest() for level in (0, 1, 2, 6)))
print(hashlib.sha256(zstandard.ZstdCompressor(level=2).compress(data)).hexdigest())
"""


@pytest.mark.extra
@pytest.mark.parametrize("model", ["Nehalem", "EPYC"])
def test_processors_make_the_same_bytes(model: str) -> None:
    if platform.machine() != "x86_64" or shutil.which("qemu-x86_64") is None:
        pytest.skip("qemu-x86_64 is not here, or models other processors")
    python = [os.path.realpath(sys.executable), "-c", COMPRESS]
    environment = {"PYTHONPATH": os.pathsep.join(sys.path)}
    here, there = (
        subprocess.run([*emulator, *python], env=environment, capture_output=True, text=True, check=True).stdout
        for emulator in ([], ["qemu-x86_64", "-cpu", model])
    )
    assert there == here
