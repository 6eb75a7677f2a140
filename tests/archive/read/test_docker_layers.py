"""Layers of a docker-archive are compressed once where they can be kept, and compared with their digests."""

from __future__ import annotations

import gzip
import json
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.docker_layers import Layer, LayerStore, PieceReader, read_layer
from hangar_async.archive.read.forms import archive_layout
from hangar_async.disk import Disk
from hangar_async.layout.files import Layout
from hangar_async.layout.foreign import seekable
from hangar_async.layout.images import read_images
from hangar_async.oci import Digest, read_pieces
from hangar_async.testing.images import Built, image, layer
from hangar_async.threads import Interrupted
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.images import AMD64
from tests.fakes.sources import COMPRESSIONS, docker, tar

BUILT = image([layer({"a": b"text" * 90_000}, "none"), layer({"b": bytes(9000)}, "none")], AMD64)
#: A plain layer beside one that is compressed.
MIXED = image([layer({"a": b"text" * 90_000}, "none"), layer({"b": bytes(9000)}, "gzip")], AMD64)


def source(tmp_path: Path, compression: str = "tar", built: Built = BUILT) -> Path:
    path = tmp_path / f"saved-{compression}"
    path.write_bytes(COMPRESSIONS[compression](tar(docker(built))))
    return path


def opened(path: Path, store: LayerStore | None = None) -> Layout:
    return archive_layout(open_archive(path), lambda: None, store)


def contents(layout: Layout) -> dict[str, bytes]:
    return {file.name: b"".join(map(bytes, file.pieces)) for file in layout.files()}


@pytest.mark.parametrize("compression", ["tar", "zstd"])
def test_a_layer_that_is_kept_is_compressed_once(tmp_path: Path, compression: str, compressed: list[int]) -> None:
    path = source(tmp_path, compression, MIXED)
    expected = contents(opened(path))
    compressed.clear()
    store = LayerStore(tmp_path, Disk())
    layout = opened(path, store)
    first = list(compressed)
    assert contents(layout) == expected
    for name, content in expected.items():
        with closing(seekable(layout).open(name, 3)) as reader:
            assert b"".join(map(bytes, read_pieces(reader, memoryview(bytearray(1000))))) == content[3:]
    assert compressed == first
    store.close()
    store.close()
    assert [one.name for one in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("compression", ["tar", "zstd"])
def test_no_more_than_the_bound_is_kept(tmp_path: Path, compression: str) -> None:
    path = source(tmp_path, compression)
    expected = contents(opened(path))
    least = min(map(len, expected.values()))
    store = LayerStore(tmp_path, Disk(), least + 200)
    layout = opened(path, store)
    assert layout.is_seekable == (compression == "tar")
    assert contents(layout) == expected
    kept = [one for one in tmp_path.rglob("*") if one.is_file() and one != path and one.stat().st_size]
    assert len(kept) == (1 if layout.is_seekable else 0)
    assert sum(one.stat().st_size for one in kept) <= least + 200
    store.close()


def test_a_disk_that_fails_keeps_nothing_and_fails_nothing(tmp_path: Path) -> None:
    path = source(tmp_path)
    expected = contents(opened(path))
    disk = FaultyDisk()
    LayerStore(tmp_path, disk).close()
    number = 0
    while True:
        disk.start(number)
        store = LayerStore(tmp_path, disk)
        assert contents(opened(path, store)) == expected
        failed = disk.failed
        disk.start()
        store.close()
        assert [one.name for one in tmp_path.iterdir()] == [path.name], (number, failed)
        if not failed:
            break
        number += 1
    assert number > 5


def packed(content: bytes, kind: str = "gzip") -> Layer:
    data = gzip.compress(content, 1) if kind == "gzip" else zstandard.ZstdCompressor().compress(content)
    # The first piece is shorter than the header.
    return read_layer(iter([data[:2], data[2:100], data[100:]]), lambda: None)


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_the_content_of_a_compressed_layer_is_hashed(kind: str) -> None:
    found = packed(b"content" * 1000, kind)
    assert (found.diff_id, found.packed) == (str(Digest.of(b"content" * 1000)), False)
    assert found.descriptor.media_type.endswith(kind)


def test_several_members_are_one_layer() -> None:
    data = gzip.compress(b"one", 1) + gzip.compress(b"two", 1)
    assert read_layer(iter([data]), lambda: None).diff_id == str(Digest.of(b"onetwo"))


@pytest.mark.parametrize("end", [b"", b"garbage"])
def test_damaged_compression_is_told(end: bytes) -> None:
    data = gzip.compress(bytes(range(256)) * 400, 1)[:-9] + end
    found = read_layer(iter([data]), lambda: None)
    assert found.diff_id == ""
    assert found.descriptor.digest == Digest.of(data)


def test_a_bomb_is_not_unpacked_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no damage: an image may have a large file of zeros."""
    read: list[int] = []
    real = PieceReader.readinto

    def counting(self: PieceReader, buffer: memoryview, /) -> int:
        read.append(real(self, buffer))
        return read[-1]

    monkeypatch.setattr(PieceReader, "readinto", counting)
    data = zstandard.ZstdCompressor().compress(bytes(40 << 20))
    assert read_layer(iter([data]), lambda: None).diff_id is None
    window = zstandard.ZstdCompressionParameters.from_level(1, window_log=27)
    long = zstandard.ZstdCompressor(compression_params=window).compressobj()
    data = long.compress(b"content") + long.flush()
    read.clear()
    assert read_layer(iter([data]), lambda: None).diff_id is None
    assert not read


def test_a_bomb_can_be_interrupted() -> None:
    data = zstandard.ZstdCompressor().compress(bytes(4 << 20))
    calls: list[int] = []

    def interrupt() -> None:
        calls.append(1)
        if len(calls) == 3:
            raise Interrupted

    with pytest.raises(Interrupted):
        read_layer(iter([data]), interrupt)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (gzip.compress(b"another", 1, mtime=0), f"its bytes have the digest {Digest.of(b'another')}"),
        (b"\x1f\x8b\x08 not gzip", "it cannot be unpacked"),
    ],
)
def test_a_compressed_layer_of_another_digest_is_damage(tmp_path: Path, content: bytes, said: str) -> None:
    files = docker(image([layer({"a": b"1"}, "gzip")], AMD64))
    name = next(one for one in files if one.endswith(".tar"))
    (tmp_path / "saved").write_bytes(tar({**files, name: content}))
    (found,) = read_images(opened(tmp_path / "saved")).images
    (problem,) = found.problems
    assert said in problem
    assert json.loads(files["manifest.json"])


def test_a_file_that_is_closed_early_is_removed(tmp_path: Path) -> None:
    store = LayerStore(tmp_path, Disk())

    def failing() -> Iterator[bytes]:
        yield b"piece" * 9
        raise tarfile.ReadError

    with pytest.raises(tarfile.ReadError):
        read_layer(failing(), lambda: None, store)
    (directory,) = (one for one in tmp_path.iterdir() if one.is_dir())
    assert not list(directory.iterdir())
    store.close()
