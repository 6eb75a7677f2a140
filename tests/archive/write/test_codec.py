import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, strategies as st

from hangar_async.archive.write.codec import CompressionWorkers
from hangar_async.archive.write.input import bytes_input
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.config.output import LEVELS
from hangar_async.oci.digest import Digest
from tests.archive.samples import (
    KINDS,
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
