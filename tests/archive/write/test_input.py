import errno
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive.write.input import CompressionWorkers, Input, bytes_input, open_input
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.errors import StorageError
from hangar_async.oci.digest import Digest
from tests.archive.samples import noise, text


def read(source: Input, sizes: list[int]) -> list[bytes]:
    """Fill views of these sizes at once."""
    buffers = [bytearray(size) for size in sizes]
    source.read_into([memoryview(buffer) for buffer in buffers])
    return [bytes(buffer) for buffer in buffers]


def cut(data: bytes, sizes: list[int]) -> list[bytes]:
    return [data[sum(sizes[:number]) : sum(sizes[: number + 1])] for number in range(len(sizes))]


@given(st.lists(st.integers(0, 50), max_size=6))
def test_bytes_fill_several_views_in_order(sizes: list[int]) -> None:
    data = noise(sum(sizes))
    source = bytes_input(data)
    assert source.size == len(data)
    assert source.head(1 << 20) == data
    assert read(source, sizes) == cut(data, sizes)
    assert source.head(5) == data[:5]


def test_a_file_fills_several_views_in_order(tmp_path: Path) -> None:
    data = noise(1000)
    (tmp_path / "source").write_bytes(data)
    readings: list[int] = []
    with open_input(tmp_path / "source", 1000, lambda: readings.append(1)) as source:
        assert source.head(6) == data[:6]
        assert read(source, [1, 0, 299]) == cut(data, [1, 0, 299])
        assert source.head(2000) == data
        assert read(source, [700]) == [data[300:]]
    assert len(readings) == 2


def test_the_file_is_closed_after_an_error(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"data")
    before = os.listdir("/dev/fd")
    with pytest.raises(ZeroDivisionError), open_input(tmp_path / "source", 4, lambda: None):
        raise ZeroDivisionError
    assert os.listdir("/dev/fd") == before


def test_a_file_that_is_cut_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(noise(1000))
    with (
        pytest.raises(StorageError, match="has 600 bytes, not the 1000 that it was said to have"),
        open_input(path, 1000, lambda: None) as source,
    ):
        read(source, [500])
        os.truncate(path, 600)
        read(source, [500])


def test_a_file_that_grows_while_it_is_read_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "source"
    path.write_bytes(b"data")
    with (
        pytest.raises(StorageError, match="has 8 bytes, not the 4 that it was said to have"),
        open_input(path, 4, lambda: None) as source,
    ):
        read(source, [4])
        path.write_bytes(b"datadata")


@pytest.mark.parametrize("size", [99_999, 100_001, 0])
@pytest.mark.parametrize("data", [noise(100_000), text(100_000)], ids=["stored", "compressed"])
def test_a_source_of_another_size_breaks_the_archive(tmp_path: Path, data: bytes, size: int) -> None:
    source = tmp_path / "source"
    source.write_bytes(data)
    writer = ArchiveWriter(tmp_path / "a", "gzip")
    with pytest.raises(StorageError, match=f"has 100000 bytes, not the {size}"):
        writer.add_file("blob", source, size, digest=Digest.of(data), compressed=True)
    with pytest.raises(StorageError, match="broken"):
        writer.commit()
    writer.discard()
    assert os.listdir(tmp_path) == ["source"]


def test_a_missing_or_linked_source_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("link", "missing"):
        with (
            ArchiveWriter(tmp_path / "a", "gzip") as writer,
            pytest.raises(StorageError, match=f"cannot read .*{name}"),
        ):
            writer.add_file("blob", tmp_path / name, 0, digest=Digest.of(b""), compressed=True)


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


@pytest.mark.parametrize("call", ["pread", "readv"])
def test_a_file_that_cannot_be_read_is_an_error(tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, call, fail)
    (tmp_path / "source").write_bytes(b"data")
    with (
        pytest.raises(StorageError, match=r"cannot read .*source: Input/output error"),
        open_input(tmp_path / "source", 4, lambda: None) as source,
    ):
        source.head(4)
        read(source, [4])


def test_workers_are_counted_where_the_system_has_no_affinity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    pool = CompressionWorkers(bytes, 2)
    assert [unit for _, unit in pool.units(bytes_input(b"abc"))] == [b"ab", b"c"]
    pool.close()
