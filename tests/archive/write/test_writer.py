import hashlib
import io
import os
import struct
import tarfile
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar_async.archive import deflate
from hangar_async.archive.write import writer
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.errors import InvalidValue, StorageError
from hangar_async.oci.digest import Digest
from tests.archive.samples import (
    INDEX,
    ROOT,
    blob_path,
    contents,
    decoded,
    fill,
    index_of,
    joined,
    noise,
    temporary,
    text,
    unpacked,
    visible,
    write,
)

FORMATS = ("gzip", "zstd")
MIB = 1 << 20
edges = st.sampled_from([0, 1, 511, 512, 513, 65534, 65535, 65536, 131071, 131072, 131073, MIB - 1, MIB, MIB + 1])
sizes = st.one_of(edges, st.integers(0, 3 * MIB))
blobs = st.lists(st.one_of(sizes.map(noise), sizes.map(text), st.binary(max_size=100)), max_size=5)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=40, deadline=None)
@given(content=blobs, part_size=st.one_of(st.none(), st.integers(30_000, 4 * MIB)))
def test_what_is_written_reads_back(kind: str, content: list[bytes], part_size: int | None) -> None:
    with tempfile.TemporaryDirectory() as directory:
        written = write(Path(directory, "saved.tar"), kind, content, part_size=part_size, sync=False)
        stream = joined(written)
        assert len(stream) == written.size
        if part_size is not None:
            assert all(path.stat().st_size == part_size for path in written.files[:-1])
            assert 0 < written.files[-1].stat().st_size <= part_size
    files = contents(unpacked(stream))
    expected = {blob_path(data): data for data in content} | {f"{ROOT}/{'f' * 64}/index.json": b"{}"}
    assert files == expected | {INDEX: files[INDEX]}
    index = index_of(files)
    assert (index["version"], index["compression"]) == (1, kind)
    assert [entry["name"] for entry in index["entries"]] == list(expected)
    for entry in index["entries"]:
        data = decoded(stream, entry)
        assert data == expected[entry["name"]]
        assert entry["size"] == len(data)
        assert entry["digest"] == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_the_tar_is_in_the_first_member_and_the_footer_in_a_second(tmp_path: Path) -> None:
    stream = joined(write(tmp_path / "a.tar.gz", "gzip"))
    inflate = zlib.decompressobj(31)
    tar = inflate.decompress(stream)
    assert len(tar) % 10240 == 0
    footer = inflate.unused_data
    assert len(footer) == 50
    assert zlib.decompress(footer, 31) == b""
    assert footer[12:16] == b"HG\x18\x00"
    magic, offset, length = struct.unpack("<8sQQ", footer[16:40])
    assert magic == b"HGRSEEK1"
    assert zlib.decompress(stream[offset : offset + length] + b"\x03\0", -15) == contents(tar)[INDEX]


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
    starts = [start for start in (stream.find(b"\x28\xb5\x2f\xfd\x80\x38"),) if start >= 0]
    second = starts[0] + 10 + 512 * (128 * 1024 + 3)
    assert stream[second : second + 6] == b"\x28\xb5\x2f\xfd\x80\x38"
    assert int.from_bytes(stream[second + 6 : second + 10], "little") == MIB
    assert len(unpacked(stream)) > 65 * MIB


def pipe(stream: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(stream), mode="r|gz")


def seek(stream: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz")


def zstd(stream: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(unpacked(stream)), mode="r|")


@pytest.mark.parametrize(("kind", "reader"), [("gzip", seek), ("gzip", pipe), ("zstd", zstd)])
def test_python_reads_it(tmp_path: Path, kind: str, reader: Callable[[bytes], tarfile.TarFile]) -> None:
    stream = joined(write(tmp_path / "a", kind, [text(100_000), noise(100_000)]))
    with reader(stream) as opened:
        members = opened.getmembers()
    assert members[-1].name == INDEX
    assert {member.name: member.linkname for member in members if member.issym()} == {f"{ROOT}/blobs": "share"}
    assert {member.mtime for member in members} == {0}
    assert [member.name for member in members if member.isdir()][:3] == [ROOT, f"{ROOT}/share", f"{ROOT}/share/sha256"]


@pytest.mark.parametrize("kind", FORMATS)
def test_the_bytes_do_not_depend_on_workers_parts_or_sync(tmp_path: Path, kind: str) -> None:
    content = [text(9 * MIB + 7), noise(3 * MIB), text(40), noise(MIB, seed=1), b""]
    once = joined(write(tmp_path / "a", kind, content, workers=1))
    for options in ({"workers": 2}, {"workers": 7, "sync": False}, {"workers": 3, "part_size": MIB + 1}):
        assert joined(write(tmp_path / "b", kind, content, **options)) == once


def test_the_time_of_the_entries_is_the_given_one(tmp_path: Path) -> None:
    stream = joined(write(tmp_path / "a", "gzip", mtime=1700000000))
    with tarfile.open(fileobj=io.BytesIO(stream)) as opened:
        assert {member.mtime for member in opened} == {1700000000}
    assert stream[4:8] == bytes(4)


@pytest.mark.parametrize("kind", FORMATS)
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
def test_what_is_compressed_already_stays_as_it_is(
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


@pytest.mark.parametrize(("kind", "level"), [(name, level) for name in FORMATS for level in writer.LEVELS[name]])
def test_every_level_reads_back(tmp_path: Path, kind: str, level: int) -> None:
    content = [text(1_500_000), noise(1000)]
    stream = joined(write(tmp_path / "a", kind, content, level=level))
    assert contents(unpacked(stream))[blob_path(content[0])] == content[0]


def test_higher_levels_are_smaller(tmp_path: Path) -> None:
    for name, levels in (("gzip", (0, 1, 6)), ("zstd", (1, 3, 19))):
        found = [write(tmp_path / "a", name, [text(2 * MIB)], level=level).size for level in levels]
        assert found == sorted(found, reverse=True)
        assert len(set(found)) == len(found)


@pytest.mark.parametrize(("kind", "level"), [("gzip", 10), ("gzip", -1), ("zstd", 0), ("zstd", 20), ("xz", 1)])
def test_formats_and_levels_that_do_not_exist(tmp_path: Path, kind: str, level: int) -> None:
    with pytest.raises(InvalidValue):
        ArchiveWriter(tmp_path / "a", kind, level=level)
    assert os.listdir(tmp_path) == []


def test_without_the_fast_library_zlib_does_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deflate, "FAST_LEVELS", range(0))
    content = [text(3 * MIB), noise(MIB)]
    written = write(tmp_path / "a", "gzip", content)
    assert written.compressor.startswith("zlib ")
    assert contents(unpacked(joined(written)))[blob_path(content[1])] == content[1]


def test_the_report_names_the_library(tmp_path: Path) -> None:
    assert write(tmp_path / "a", "gzip").compressor.startswith("isal ")
    assert write(tmp_path / "a", "zstd").compressor == f"zstandard {zstandard.__version__}"


@pytest.mark.parametrize("size", [99_999, 100_001, 0])
@pytest.mark.parametrize("data", [noise(100_000), text(100_000)], ids=["stored", "compressed"])
def test_a_source_of_another_size_is_an_error(tmp_path: Path, data: bytes, size: int) -> None:
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


def test_directories_come_once_and_files_must(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", "gzip") as writer:
        writer.add_directory(ROOT)
        writer.add_directory(ROOT)
        writer.add_bytes(f"{ROOT}/a", b"1")
        with pytest.raises(InvalidValue):
            writer.add_bytes(f"{ROOT}/a", b"2")
        stream = joined(writer.commit())
    with tarfile.open(fileobj=io.BytesIO(stream)) as opened:
        assert opened.getnames() == [ROOT, f"{ROOT}/a", INDEX]


def test_very_many_directories(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", "zstd") as writer:
        for number in range(3000):
            writer.add_directory(f"{ROOT}/{number}")
        stream = joined(writer.commit())
    with tarfile.open(fileobj=io.BytesIO(unpacked(stream))) as opened:
        assert len(opened.getnames()) == 3001


class Stopped(Exception):
    pass


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("make", [noise, text])
def test_progress_can_stop_it_within_a_file(tmp_path: Path, kind: str, make: object) -> None:
    data = noise(40 * MIB) if make is noise else text(40 * MIB)
    (tmp_path / "source").write_bytes(data)
    seen: list[tuple[int, int]] = []

    def progress(written: int, part: int) -> None:
        seen.append((written, part))
        if len(seen) == 3:
            raise Stopped

    writer = ArchiveWriter(tmp_path / "a", kind, progress=progress, part_size=MIB)
    with writer, pytest.raises(Stopped):
        writer.add_file("blob", tmp_path / "source", len(data), digest=Digest.of(data), compressed=True)
    assert seen == sorted(seen)
    assert len(seen) == 3
    assert os.listdir(tmp_path) == ["source"]


def test_progress_tells_bytes_and_part(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    written = write(tmp_path / "a", "gzip", [noise(5 * MIB)], part_size=MIB, progress=lambda *found: seen.append(found))
    assert 2 * MIB < seen[0][0] < 5 * MIB
    assert seen[-1] <= (written.size, len(written.files) - 1)
    assert seen[-1][1] in (4, 5)


def test_nothing_is_visible_before_the_commit_and_nothing_stays_after_a_discard(tmp_path: Path) -> None:
    writer = ArchiveWriter(tmp_path / "a", "gzip", part_size=MIB)
    fill(writer, [noise(3 * MIB)], tmp_path)
    assert visible(tmp_path) == []
    assert len(temporary(tmp_path)) > 2
    assert all(name.startswith(".a.") and name.endswith(".tmp") for name in temporary(tmp_path))
    writer.discard()
    writer.discard()
    assert os.listdir(tmp_path) == []
    with pytest.raises(StorageError, match="discarded"):
        writer.add_directory("x")


def test_a_discard_after_the_commit_does_nothing(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", "gzip") as writer:
        fill(writer, [b"x"], tmp_path)
        written = writer.commit()
        writer.discard()
    assert written.files == (tmp_path / "a",)
    assert sorted(os.listdir(tmp_path)) == ["a", "a.sha256"]


def test_an_empty_archive_is_one_too(tmp_path: Path) -> None:
    for name in FORMATS:
        files = contents(unpacked(joined(write(tmp_path / "a", name, []))))
        assert index_of(files)["entries"]
