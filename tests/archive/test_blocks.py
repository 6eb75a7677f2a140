import zlib
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, strategies as st

from hangar_async.archive.blocks import (
    MAX_HEADER,
    RAW_FRAME,
    Block,
    raw_blocks,
    raw_offset,
    stored_blocks,
    stored_offset,
    stored_size,
)
from tests.archive.samples import MIB, noise

_edges = st.sampled_from(
    [0, 1, 65534, 65535, 65536, 131070, 131071, 131072, 131073, MIB, RAW_FRAME - 1, RAW_FRAME, RAW_FRAME + 1]
)
_sizes = _edges | st.integers(0, 3 * RAW_FRAME)


def joined(data: bytes, blocks: Iterator[Block]) -> bytes:
    stream, position = b"", 0
    for header, count in blocks:
        stream += header + data[position : position + count]
        position += count
    return stream


@given(_sizes, _sizes)
def test_blocks_from_any_byte_are_the_end_of_all_blocks(size: int, start: int) -> None:
    start = min(start, size)
    for blocks, offset in ((stored_blocks, stored_offset), (raw_blocks, raw_offset)):
        rest = list(blocks(size, start))
        assert sum(count for _, count in rest) == size - start
        assert sum(len(header) + count for header, count in rest) == offset(size) - offset(start)
        # The blocks after the first one are the same from the start on.
        assert rest[1:] == list(blocks(size))[-len(rest) + 1 :] or len(rest) < 2
        assert all(0 < len(header) <= MAX_HEADER for header, _ in rest[1:])
    assert stored_size(stored_offset(size)) == size


@pytest.mark.parametrize("size", [1, 65535, 65536, 300_000])
def test_other_decoders_read_the_blocks(size: int) -> None:
    data = noise(size)
    inflate = zlib.decompressobj(-15)
    assert inflate.decompress(joined(data, stored_blocks(size))) == data
    decoder = zstandard.ZstdDecompressor().stream_reader(joined(data, raw_blocks(size)), read_across_frames=True)
    assert decoder.read() == data
