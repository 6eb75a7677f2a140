import gzip
import hashlib
import zlib
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive import formats
from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.stream import stream_files
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
