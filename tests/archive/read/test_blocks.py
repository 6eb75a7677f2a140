"""Content that lies in blocks, from any byte on."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.archive.index import Entry
from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.blocks import (
    Block,
    is_raw,
    raw_blocks,
    raw_offset,
    stored_blocks,
    stored_offset,
    stored_size,
)
from hangar_async.errors import ArchiveError
from tests.archive.samples import blob_path, noise, text, write

MIB = 1 << 20
FRAME = 64 * MIB
edges = st.sampled_from([0, 1, 65534, 65535, 65536, 131070, 131071, 131072, 131073, MIB, FRAME - 1, FRAME, FRAME + 1])
sizes = edges | st.integers(0, 3 * FRAME)


@given(sizes, sizes)
def test_blocks_from_any_byte_are_the_end_of_all(size: int, start: int) -> None:
    start = min(start, size)
    for blocks, offset in ((stored_blocks, stored_offset), (raw_blocks, raw_offset)):
        found = list(blocks(size, start))
        assert sum(count for _, count in found) == size - start
        assert sum(len(header) + count for header, count in found) == offset(size) - offset(start)
        # What follows the first one is what stands there from the start on.
        assert found[1:] == list(blocks(size, 0))[-len(found) + 1 :] or len(found) < 2
        assert all(header for header, _ in found[1:])
    assert stored_size(stored_offset(size)) == size


def joined(data: bytes, blocks: Iterator[Block]) -> bytes:
    stream, place = b"", 0
    for header, count in blocks:
        stream += header + data[place : place + count]
        place += count
    return stream


@pytest.mark.parametrize("size", [1, 65535, 65536, 300_000])
def test_other_decoders_read_the_blocks(size: int) -> None:
    data = noise(size)
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(joined(data, stored_blocks(size, 0))) == data
    decoder = zstandard.ZstdDecompressor().stream_reader(joined(data, raw_blocks(size, 0)), read_across_frames=True)
    assert decoder.read() == data


def test_any_place_in_several_frames(tmp_path: Path) -> None:
    data = noise(FRAME + 300_001)
    write(tmp_path / "a", "zstd", [data], sync=False)
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    assert is_raw(archive.volume, entry)
    for start in (0, 131_072, 131_073, FRAME - 1, FRAME, FRAME + 1, FRAME + 131_072, len(data) - 1, len(data)):
        with archive.open(entry, start) as reader:
            assert reader.read(100) == data[start : start + 100]
    with archive.open(entry, FRAME - 200_000) as reader:
        assert reader.readall() == data[FRAME - 200_000 :]


def test_what_is_compressed_is_not_raw(tmp_path: Path) -> None:
    data = text(300_000)
    write(tmp_path / "a", "zstd", [data], sync=False)
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    assert not is_raw(archive.volume, entry)
    # Not even when the length happens to be that of raw frames.
    size = entry.length - 13
    assert raw_offset(size) == entry.length
    liar = Entry(entry.name, entry.digest, size, entry.offset, entry.length, entry.encoding)
    assert not is_raw(archive.volume, liar)


def test_damaged_headers_are_found(tmp_path: Path) -> None:
    data = noise(300_000)
    for kind, place in (("gzip", stored_offset(65535)), ("zstd", raw_offset(131_072))):
        write(tmp_path / kind, kind, [data], sync=False)
        entry = open_archive(tmp_path / kind).entries[blob_path(data)]
        stream = bytearray((tmp_path / kind).read_bytes())
        stream[entry.offset + place + 1] ^= 1
        (tmp_path / kind).write_bytes(stream)
        (tmp_path / f"{kind}.sha256").unlink()
        with open_archive(tmp_path / kind).open(entry) as reader, pytest.raises(ArchiveError, match="blocks are none"):
            reader.readall()
