import lzma
import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Callable
from itertools import accumulate
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st

from hangar_async.archive import formats
from hangar_async.archive.formats import (
    STORED_BLOCK,
    STORED_HEADER,
    raw_offset,
    stored_blocks,
    stored_offset,
    stored_size,
)
from hangar_async.archive.read import decode
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.decode import (
    Decoder,
    Inflater,
    PieceReader,
    Unwrapper,
    decode_units,
    frames,
    members,
    xz_streams,
)
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.read.volume import Window
from hangar_async.errors import ArchiveError
from hangar_async.oci.integrity import Reader
from tests.archive.samples import BLOBS, GZIP_MAGIC, MIB, blob_path, noise, text, write


def unwrap(window: Window) -> Unwrapper:
    return Unwrapper(window, stored_blocks(stored_size(window.left), 0))


DECODERS: dict[str, Callable[[Window], Reader]] = {
    "stored": unwrap, "deflate": Inflater, "zstd": frames, "gzip": members,
}  # fmt: skip


def stored(data: bytes) -> bytes:
    pieces = [data[at : at + STORED_BLOCK] for at in range(0, len(data), STORED_BLOCK)]
    return b"".join(STORED_HEADER.pack(0, len(piece), len(piece) ^ 0xFFFF) + piece for piece in pieces)


ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "stored": stored,
    "deflate": lambda data: formats.deflate(data, 1),
    "zstd": zstandard.ZstdCompressor(level=1, write_checksum=True).compress,
    "gzip": lambda data: zlib.compress(data, 1, wbits=31),
}


def decoded(kind: str, packed: bytes, piece: int = 1 << 18, most: int = 64 * MIB) -> bytes:
    """Decode with buffers of this size, until the end or `most` bytes."""
    content, buffer = bytearray(), memoryview(bytearray(piece))
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a").write_bytes(packed + b"\0")
        with find_volume(Path(directory, "a")).open(0, len(packed)) as window:
            decoder = Decoder(window, DECODERS[kind])
            while len(content) < most and (count := decoder.readinto(buffer)):
                content += buffer[:count]
    return bytes(content)


_sizes = st.sampled_from([0, 1, 65_534, 65_535, 65_536, 131_070, 131_071, 300_000]) | st.integers(0, 200_000)


@pytest.mark.parametrize("kind", DECODERS)
@given(size=_sizes, made=st.sampled_from([noise, text, bytes]), piece=st.integers(1, 400_000))
def test_encoded_content_is_decoded_into_buffers_of_any_size(
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
        message = str(error)
    else:
        message = f"{len(found)} bytes"
    assert message.isprintable()


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
def test_content_after_stored_blocks_is_refused(rest: bytes) -> None:
    with pytest.raises(ArchiveError, match="stored blocks"):
        decoded("stored", stored(b"content") + rest)


@pytest.mark.parametrize("size", [0, 1, 65_535, 70_000])
def test_stored_blocks_of_other_sizes_are_refused(size: int) -> None:
    """The offset of a byte is computed from the sizes of blocks, so that no other sizes may pass."""
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


def empty_blocks(count: int) -> bytes:
    """Empty blocks with fixed codes, of ten bits each, and zeros up to the end of the byte."""
    bits = "0100000000" * count
    return int(bits[::-1], 2).to_bytes(-(-len(bits) // 8), "little")


@pytest.mark.parametrize("count", range(1, 9))
def test_data_that_end_within_a_byte_are_refused(count: int) -> None:
    """The bits that are left would belong to the next block for a program that decodes the whole archive."""
    if count % 4 == 0:
        assert decoded("deflate", empty_blocks(count)) == b""
        return
    with pytest.raises(ArchiveError, match=r"end within a block|damaged"):
        decoded("deflate", empty_blocks(count))


@pytest.mark.parametrize("rest", [STORED_HEADER.pack(0, 9, 9 ^ 0xFFFF), b"\0", b"\0\x10", b"\x04", b"\x01\1\0\xfe\xff"])
def test_data_that_end_within_a_block_are_refused(rest: bytes) -> None:
    """The bytes after them would be content for a program that decodes the whole archive."""
    with pytest.raises(ArchiveError, match=r"end within a block|damaged"):
        decoded("deflate", formats.deflate(b"content", 1) + rest)


@given(data=st.binary(min_size=1, max_size=3000), level=st.sampled_from([1, 6]), cut=st.integers(0, 3000))
def test_data_that_are_cut_are_refused_or_end_with_a_block(data: bytes, level: int, cut: int) -> None:
    packed = formats.deflate(data, level)
    try:
        content = decoded("deflate", packed[:cut])
    except ArchiveError:
        return
    # Only the empty block at the end may be missing.
    assert content == data[: len(content)]
    assert content in (b"", data)


def joined_pieces(packed: bytes, pieces: list[tuple[int, int]], kind: str = "deflate", start: int = 0) -> bytes:
    with tempfile.TemporaryDirectory() as directory:
        Path(directory, "a").write_bytes(packed + b"\0")
        with find_volume(Path(directory, "a")).open(start, len(packed)) as window:
            reader = Decoder(window, lambda window: PieceReader(window, iter(pieces), DECODERS[kind]))
            content = bytearray(1 << 20)
            return bytes(content[: reader.readinto(memoryview(content))])


@pytest.mark.parametrize("kind", ["deflate", "zstd"])
@given(sizes=st.lists(st.integers(0, 3000), min_size=1, max_size=6), made=st.sampled_from([noise, text]))
def test_pieces_are_decoded_one_after_the_other_from_any_on(
    kind: str, sizes: list[int], made: Callable[[int], bytes]
) -> None:
    contents = [made(size) for size in sizes]
    units = [ENCODERS[kind](data) for data in contents]
    packed, ends = b"".join(units), list(accumulate(map(len, units)))
    pieces = list(zip(ends, sizes, strict=True))
    for number, start in enumerate([0, *ends[:-1]]):
        assert joined_pieces(packed, pieces[number:], kind, start) == b"".join(contents[number:])


@pytest.mark.parametrize("kind", ["deflate", "zstd"])
@given(sizes=st.lists(st.integers(0, 300), min_size=2, max_size=5), data=st.data())
def test_pieces_at_other_positions_have_the_bytes_of_the_whole_or_are_refused(
    kind: str, sizes: list[int], data: st.DataObject
) -> None:
    units = [ENCODERS[kind](text(size)) for size in sizes]
    packed, ends = b"".join(units), list(accumulate(map(len, units)))
    cuts = data.draw(st.sets(st.sampled_from(ends[:-1]) | st.integers(1, len(packed) - 1), min_size=1, max_size=4))
    claimed = [*sorted(cuts), len(packed)]
    total = sum(sizes)
    places = st.sampled_from(list(accumulate(sizes))) | st.integers(0, total)
    bounds = sorted(data.draw(st.lists(places, min_size=len(cuts), max_size=len(cuts))))
    lengths = [end - start for start, end in zip([0, *bounds], [*bounds, total], strict=True)]
    pieces = list(zip(claimed, lengths, strict=True))
    try:
        whole = joined_pieces(packed, pieces, kind)
    except ArchiveError:
        return
    assert whole == b"".join(text(size) for size in sizes)
    for number, start in enumerate([0, *claimed[:-1]]):
        assert joined_pieces(packed, pieces[number:], kind, start) == whole[total - sum(lengths[number:]) :]


@pytest.mark.parametrize("kind", ["deflate", "zstd"])
@pytest.mark.parametrize("size", [0, 6, 8])
def test_a_piece_of_another_size_is_refused(kind: str, size: int) -> None:
    packed = ENCODERS[kind](b"content")
    with pytest.raises(ArchiveError, match="has another size than the archive says"):
        joined_pieces(packed + packed, [(len(packed), size), (2 * len(packed), 7)], kind)


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
                decoder, buffer, size = Decoder(window, DECODERS[kind]), memoryview(bytearray(1 << 18)), 0
                while count := decoder.readinto(buffer):
                    size += count
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert size == 64 * MIB
    assert peak < 4 * MIB


def test_damaged_headers_of_blocks_are_found(tmp_path: Path) -> None:
    data = noise(300_000)
    for kind, position in (("gzip", stored_offset(65535)), ("zstd", raw_offset(131_072))):
        write(tmp_path / kind, kind, [data], sync=False)
        entry = open_archive(tmp_path / kind).entries[blob_path(data)]
        stream = bytearray((tmp_path / kind).read_bytes())
        stream[entry.offset + position + 1] ^= 1
        (tmp_path / kind).write_bytes(stream)
        (tmp_path / f"{kind}.sha256").unlink()
        with (
            open_archive(tmp_path / kind).open(entry) as reader,
            pytest.raises(ArchiveError, match="are not stored blocks"),
        ):
            reader.readall()


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_range_of_units_is_decoded_up_to_a_limit(tmp_path: Path, kind: str) -> None:
    data = text(300_000)
    write(tmp_path / "a", kind, [data], sync=False)
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    end = entry.offset + entry.length
    assert decode_units(archive.volume, entry.offset, end, kind, len(data), "too large") == data
    with pytest.raises(ArchiveError, match="too large"):
        decode_units(archive.volume, entry.offset, end, kind, len(data) - 1, "too large")


def test_a_file_is_read_into_buffers_of_any_size(archive: Archive) -> None:
    for data in BLOBS:
        for size in (100_000, 1 << 20, len(data) + 1):
            with archive.open(archive.entries[blob_path(data)]) as reader:
                buffer, content = bytearray(size), b""
                while count := reader.readinto(buffer):
                    content += buffer[:count]
                assert content == data
                assert reader.readinto(buffer) == 0


def test_skipped_content_is_not_returned(archive: Archive) -> None:
    data = BLOBS[0]
    with archive.open(archive.entries[blob_path(data)]) as reader:
        assert reader.readable()
        reader.skip(0)
        reader.skip(299_000)
        assert reader.read(10) == data[299_000:299_010]
        reader.skip(990)
        assert reader.read(10) == b""


def test_readers_of_one_archive_have_one_identity(archive: Archive) -> None:
    entries = list(archive.entries.values())
    with archive.open(entries[0]) as reader, archive.open(entries[1], 5) as other:
        assert reader.identity == other.identity
        assert reader.read(1)
        reader.check()
        other.check()


def test_xz_takes_a_bounded_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(lzma.compress(b"x" * 100))
    with find_volume(tmp_path / "a").open(0, (tmp_path / "a").stat().st_size) as window:
        monkeypatch.setattr(decode, "_MAX_XZ_MEMORY", MIB)
        with pytest.raises(EOFError, match="Memory usage limit exceeded"):
            xz_streams(window).readinto(memoryview(bytearray(100)))
