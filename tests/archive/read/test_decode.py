import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from hangar_async.archive import deflate
from hangar_async.archive.deflate import STORED_BLOCK, STORED_HEADER
from hangar_async.archive.read.blocks import Unwrapper, stored_blocks, stored_size
from hangar_async.archive.read.decode import Decoder, Inflater, fill, frames, members
from hangar_async.archive.read.parts import find_volume
from hangar_async.archive.read.volume import Window
from hangar_async.errors import ArchiveError
from tests.archive.samples import GZIP_MAGIC, noise, text

MIB = 1 << 20


def unwrap(window: Window) -> Unwrapper:
    return Unwrapper(window, stored_blocks(stored_size(window.left), 0))


DECODERS: dict[str, Callable[[Window], Decoder]] = {
    "stored": unwrap, "deflate": Inflater, "zstd": frames, "gzip": members,
}  # fmt: skip


def stored(data: bytes) -> bytes:
    pieces = [data[at : at + STORED_BLOCK] for at in range(0, len(data), STORED_BLOCK)]
    return b"".join(STORED_HEADER.pack(0, len(one), len(one) ^ 0xFFFF) + one for one in pieces)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "stored": stored,
    "deflate": lambda data: deflate.deflate(data, 1),
    "zstd": zstandard.ZstdCompressor(level=1, write_checksum=True).compress,
    "gzip": lambda data: zlib.compress(data, 1, wbits=31),
}


def decoded(kind: str, packed: bytes, piece: int = 1 << 18, most: int = 64 * MIB) -> bytes:
    """Decode with buffers of this size, until the end or `most` bytes."""
    found, buffer = bytearray(), memoryview(bytearray(piece))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a").write_bytes(packed + b"\0")
        with find_volume(Path(directory, "a")).open(0, len(packed)) as window:
            decoder = DECODERS[kind](window)
            while len(found) < most and (count := fill(decoder, window, buffer)):
                found += buffer[:count]
    return bytes(found)


_sizes = st.sampled_from([0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 300_000]) | st.integers(0, 200_000)


@pytest.mark.parametrize("kind", DECODERS)
@given(size=_sizes, made=st.sampled_from([noise, text, bytes]), piece=st.integers(1, 400_000))
def test_what_is_encoded_is_decoded_into_buffers_of_any_size(
    kind: str, size: int, made: Callable[[int], bytes], piece: int
) -> None:
    data = made(size if piece > 100 else size % 5000)
    assert decoded(kind, ENCODERS[kind](data), piece) == data


@pytest.mark.parametrize("kind", DECODERS)
@given(
    start=st.sampled_from(
        [b"", GZIP_MAGIC + bytes(7), b"\x28\xb5\x2f\xfd", b"\x50\x2a\x4d\x18", b"\0\x02\0\xfd\xff", b"\x03"]
    ),
    rest=st.binary(max_size=100),
)
def test_any_bytes_are_decoded_or_an_archive_error(kind: str, start: bytes, rest: bytes) -> None:
    try:
        found = decoded(kind, start + rest, most=MIB)
    except ArchiveError as error:
        told = str(error)
    else:
        told = f"{len(found)} bytes"
    assert told.isprintable()


@pytest.mark.parametrize("kind", ["deflate", "zstd", "gzip"])
@given(data=st.data())
def test_a_changed_byte_is_an_error_or_bounded_content(kind: str, data: st.DataObject) -> None:
    packed = bytearray(ENCODERS[kind](text(5000)))
    packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        found = decoded(kind, bytes(packed), most=MIB)
    except ArchiveError:
        return
    assert len(found) <= 2 * MIB


@pytest.mark.parametrize("rest", [b"\0", b"\0\0\0\xff", b"\0\0\0\xff\xff", b"rubbish"])
def test_nothing_follows_stored_blocks(rest: bytes) -> None:
    with pytest.raises(ArchiveError, match="stored blocks"):
        decoded("stored", stored(b"content") + rest)


@pytest.mark.parametrize("size", [0, 1, 65_535, 70_000])
def test_stored_blocks_have_the_size_that_they_must_have(size: int) -> None:
    """Any other cut of the same content could not be gone through by reckoning."""
    data = noise(size + 2)
    halves = STORED_HEADER.pack(0, 1, 1 ^ 0xFFFF) + data[:1] + stored(data[1:])
    with pytest.raises(ArchiveError, match="stored blocks"):
        decoded("stored", halves)
    last = bytearray(stored(data))
    last[0] = 1
    with pytest.raises(ArchiveError, match="stored blocks"):
        decoded("stored", bytes(last))


@pytest.mark.parametrize("rest", [b"", b"more"])
def test_a_last_block_within_the_archive_is_refused(rest: bytes) -> None:
    """A program that decodes the whole would end there."""
    packed = zlib.compressobj(wbits=-15)
    with pytest.raises(ArchiveError, match="marked as the last one"):
        decoded("deflate", packed.compress(b"content") + packed.flush() + rest)


@pytest.mark.parametrize(("flag", "field"), [(0x08, b"n"), (0x10, b"c")])
@pytest.mark.parametrize("size", [100, 600_000, 3 * MIB])
def test_a_header_of_any_length_is_read_or_an_archive_error(flag: int, field: bytes, size: int) -> None:
    packed = zlib.compress(b"content", wbits=31)
    data = packed[:3] + bytes([flag]) + packed[4:10] + field * size + b"\0" + packed[10:]
    if size < 500_000:
        assert decoded("gzip", data) == b"content"
        return
    with pytest.raises(ArchiveError, match="damaged"):
        decoded("gzip", data)


def bomb(kind: str, size: int) -> bytes:
    if kind == "zstd":
        block = (128 << 10 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
        return struct.pack("<IBB", 0xFD2FB528, 0, 7 << 3) + block * (size >> 17) + b"\x01\0\0"
    return ENCODERS[kind](bytes(size))


@pytest.mark.parametrize("kind", ["deflate", "zstd", "gzip"])
def test_a_bomb_comes_out_in_pieces(kind: str) -> None:
    packed = bomb(kind, 64 * MIB)
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            Path(directory, "a").write_bytes(packed + b"\0")
            with find_volume(Path(directory, "a")).open(0, len(packed)) as window:
                decoder, buffer, size = DECODERS[kind](window), memoryview(bytearray(1 << 18)), 0
                while count := fill(decoder, window, buffer):
                    size += count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 64 * MIB
    assert peak < 4 * MIB
