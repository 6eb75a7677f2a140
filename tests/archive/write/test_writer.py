"""Archives as the writer makes them; libraries and programs that are not ours read them."""

import hashlib
import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

from hangar_async.archive import index, tar_header
from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.layout import stream_files
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.errors import ArchiveError, InvalidValue, StorageError
from hangar_async.oci.digest import Digest
from tests.archive.samples import (
    INDEX,
    KINDS,
    MIB,
    ROOT,
    blob_path,
    contents,
    decoded,
    fill,
    index_of,
    joined,
    needs,
    noise,
    temporary,
    text,
    unpacked,
    visible,
    write,
)

_edges = st.sampled_from([0, 1, 511, 512, 513, 65534, 65535, 65536, 131071, 131072, 131073, MIB - 1, MIB, MIB + 1])
_sizes = st.one_of(_edges, st.integers(0, 3 * MIB))
_blobs = st.lists(st.one_of(_sizes.map(noise), _sizes.map(text), st.binary(max_size=100)), max_size=5)
BLOBS = [noise(700_000, seed=5), text(2_500_000), b"", b"x", text(513)]
LONG = f"{ROOT}/share/sha512/{'e' * 128}"
GZIP = {
    "tar": "tar -xzf {0}",
    "pipe": "cat {0} | tar -xzf -",
    "gzip": "gzip -dc {0} | tar -xf -",
    "pigz": "pigz -dc {0} | tar -xf -",
    "bsdtar": "bsdtar -xf {0}",
    "busybox": "busybox tar -xzf {0}",
    "busybox gunzip": "busybox gunzip -c {0} | busybox tar -xf -",
}
ZSTD = {
    "tar": "tar --zstd -xf {0}",
    "zstd": "zstd -dc {0} | tar -xf -",
    "bsdtar": "bsdtar -xf {0}",
    "busybox": "zstd -dc {0} | busybox tar -xf -",
}
CASES = [("gzip", name, GZIP[name]) for name in GZIP] + [("zstd", name, ZSTD[name]) for name in ZSTD]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=40, deadline=None)
@given(content=_blobs, part_size=st.one_of(st.none(), st.integers(30_000, 4 * MIB)))
def test_files_of_any_size_read_back(kind: str, content: list[bytes], part_size: int | None) -> None:
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


def pipe(stream: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(stream), mode="r|gz")


def seek(stream: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(stream), mode="r:gz")


def zstd(stream: bytes) -> tarfile.TarFile:
    return tarfile.open(fileobj=io.BytesIO(unpacked(stream)), mode="r|")


@pytest.mark.parametrize("part_size", [None, 300_000])
@pytest.mark.parametrize("kind", KINDS)
def test_without_a_checksum_the_archive_has_the_same_bytes(tmp_path: Path, kind: str, part_size: int | None) -> None:
    hashed = joined(write(tmp_path / "a", kind, BLOBS, part_size=part_size))
    plain = write(tmp_path / "b", kind, BLOBS, part_size=part_size, checksum="none")
    assert joined(plain) == hashed
    assert [name for name in visible(tmp_path) if name.startswith("b")] == [path.name for path in plain.files]
    assert [part.digest for part in open_archive(tmp_path / "b").volume.parts] == [None] * len(plain.files)


@pytest.mark.parametrize(("kind", "reader"), [("gzip", seek), ("gzip", pipe), ("zstd", zstd)])
def test_the_tarfile_module_reads_it(tmp_path: Path, kind: str, reader: Callable[[bytes], tarfile.TarFile]) -> None:
    stream = joined(write(tmp_path / "a", kind, [text(100_000), noise(100_000)]))
    with reader(stream) as opened:
        members = opened.getmembers()
    assert members[-1].name == INDEX
    assert {member.name: member.linkname for member in members if member.issym()} == {f"{ROOT}/blobs": "share"}
    assert {member.mtime for member in members} == {0}
    assert [member.name for member in members if member.isdir()][:3] == [ROOT, f"{ROOT}/share", f"{ROOT}/share/sha256"]


def run(command: str, directory: Path) -> str:
    needs(*(step.split()[0] for step in command.split("|")))
    result = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], cwd=directory, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stderr


def check_unpacked(directory: Path) -> None:
    for data in BLOBS:
        assert (directory / blob_path(data)).read_bytes() == data
    assert (directory / ROOT / "blobs").readlink() == Path("share")
    assert (directory / ROOT / ("f" * 64) / "blobs").is_dir()
    assert (directory / ROOT / ("f" * 64) / "index.json").read_bytes() == b"{}"
    assert (directory / INDEX).stat().st_mode & 0o7777 == 0o644
    assert (directory / ROOT).stat().st_mode & 0o7777 == 0o755


@pytest.mark.parametrize(("kind", "name", "command"), CASES, ids=[f"{kind}-{name}" for kind, name, _ in CASES])
def test_an_archive_is_unpacked_by(tmp_path: Path, kind: str, name: str, command: str) -> None:
    write(tmp_path / "a.tar", kind, BLOBS)
    assert run(command.format("a.tar"), tmp_path) == ""
    check_unpacked(tmp_path)


@pytest.mark.parametrize("command", ["gzip -t a", "pigz -t a", "busybox gunzip -t a"])
def test_an_archive_is_whole_to_gzip_programs(tmp_path: Path, command: str) -> None:
    write(tmp_path / "a.gz", "gzip", BLOBS)
    assert run(command + ".gz", tmp_path) == ""


def test_an_archive_is_whole_to_zstd(tmp_path: Path) -> None:
    write(tmp_path / "a.zst", "zstd", BLOBS)
    run("zstd -qt a.zst", tmp_path)
    run("zstd -dqc --memory=8MB a.zst >/dev/null", tmp_path)


@pytest.mark.parametrize(("kind", "flag"), [("gzip", "-xz"), ("zstd", "-x --zstd")])
@pytest.mark.parametrize("count", [3, 10, 120])
def test_parts_are_joined_by_cat(tmp_path: Path, kind: str, flag: str, count: int) -> None:
    size = write(tmp_path / "a", kind, BLOBS).size
    written = write(tmp_path / "a", kind, BLOBS, part_size=-(-size // count))
    assert len(written.files) == count
    run(f"cat a.part* | tar {flag}", tmp_path)
    check_unpacked(tmp_path)


@pytest.mark.parametrize("command", ["tar -xzf a", "bsdtar -xf a", "busybox tar -xzf a"])
def test_names_that_do_not_fit_a_header_are_read(tmp_path: Path, command: str) -> None:
    with ArchiveWriter(tmp_path / "a", "gzip") as writer:
        for name in (ROOT, f"{ROOT}/share", f"{ROOT}/share/sha512"):
            writer.add_directory(name)
        writer.add_bytes(LONG, b"long")
        writer.commit()
    run(command, tmp_path)
    assert (tmp_path / LONG).read_bytes() == b"long"


@pytest.mark.parametrize("part_size", [None, 100_000, 10_000])
@pytest.mark.parametrize("name", ["saved.tar.gz", "with space\tand tab", "back\\slash", "line\nbreak", "-dash", "ünï"])
def test_sha256sum_checks_an_archive(tmp_path: Path, name: str, part_size: int | None) -> None:
    needs("sha256sum")
    written = write(tmp_path / name, "gzip", [noise(150_000)], part_size=part_size)
    command = ["sha256sum", "--strict", "-c", f"./{name}.sha256"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert result.stdout.count(": OK\n") == len(written.files)


@pytest.mark.parametrize("kind", KINDS)
def test_the_bytes_do_not_depend_on_workers_parts_or_sync(tmp_path: Path, kind: str) -> None:
    content = [text(9 * MIB + 7), noise(3 * MIB), text(40), noise(MIB, seed=1), b""]
    once = joined(write(tmp_path / "a", kind, content, workers=1))
    for options in ({"workers": 2}, {"workers": 7, "sync": False}, {"workers": 3, "part_size": MIB + 1}):
        assert joined(write(tmp_path / "b", kind, content, **options)) == once


def test_entries_have_the_given_time(tmp_path: Path) -> None:
    stream = joined(write(tmp_path / "a", "gzip", mtime=1700000000))
    with tarfile.open(fileobj=io.BytesIO(stream)) as opened:
        assert {member.mtime for member in opened} == {1700000000}
    assert stream[4:8] == bytes(4)


@pytest.mark.parametrize(("kind", "level"), [("gzip", 10), ("gzip", -1), ("zstd", 0), ("zstd", 20), ("xz", 1)])
def test_unknown_formats_and_levels_are_refused(tmp_path: Path, kind: str, level: int) -> None:
    with pytest.raises(InvalidValue):
        ArchiveWriter(tmp_path / "a", kind, level=level)
    assert os.listdir(tmp_path) == []


def test_a_repeated_directory_is_left_out_and_a_repeated_file_is_refused(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", "gzip") as writer:
        writer.add_directory(ROOT)
        writer.add_directory(ROOT)
        writer.add_bytes(f"{ROOT}/a", b"1")
        with pytest.raises(InvalidValue):
            writer.add_bytes(f"{ROOT}/a", b"2")
        stream = joined(writer.commit())
    with tarfile.open(fileobj=io.BytesIO(stream)) as opened:
        assert opened.getnames() == [ROOT, f"{ROOT}/a", INDEX]


def test_thousands_of_directories_without_a_file_are_written(tmp_path: Path) -> None:
    with ArchiveWriter(tmp_path / "a", "zstd") as writer:
        for number in range(3000):
            writer.add_directory(f"{ROOT}/{number}")
        stream = joined(writer.commit())
    with tarfile.open(fileobj=io.BytesIO(unpacked(stream))) as opened:
        assert len(opened.getnames()) == 3001


class Stopped(Exception):
    pass


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("make", [noise, text])
def test_an_error_of_progress_ends_the_writing_within_a_file(tmp_path: Path, kind: str, make: object) -> None:
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


def test_progress_gets_bytes_and_part(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    written = write(tmp_path / "a", "gzip", [noise(5 * MIB)], part_size=MIB, progress=lambda *call: seen.append(call))
    assert 2 * MIB < seen[0][0] < 5 * MIB
    assert seen[-1] <= (written.size, len(written.files) - 1)
    assert seen[-1][1] in (4, 5)


def test_no_name_is_taken_before_the_commit_and_no_file_stays_after_a_discard(tmp_path: Path) -> None:
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


def test_an_archive_without_blobs_is_written(tmp_path: Path) -> None:
    for name in KINDS:
        files = contents(unpacked(joined(write(tmp_path / "a", name, []))))
        assert index_of(files)["entries"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_largest_index_that_is_written_is_the_largest_that_is_read(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "a", kind)
    size = len(contents(unpacked((tmp_path / "a").read_bytes()))[INDEX])
    monkeypatch.setattr(index, "MAX_INDEX", size)
    write(tmp_path / "b", kind)
    assert open_archive(tmp_path / "b").entries
    monkeypatch.setattr(index, "MAX_INDEX", size - 1)
    with pytest.raises(ArchiveError, match="index is too large"):
        open_archive(tmp_path / "b")
    # Refused with the file that is one too many, and not at the commit.
    with pytest.raises(StorageError, match="more files than can be read") as raised:
        fill(ArchiveWriter(tmp_path / "c", kind), (b"one", b"", noise(70_000)), tmp_path)
    assert raised.value.advice == "split the list of images"


def test_more_pieces_than_can_be_read_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(index, "MAX_INDEX", 2000)
    monkeypatch.setattr(index, "_BYTES_A_VALUE", 2000 // 30)
    write(tmp_path / "a", "gzip", [bytes(10 * MIB)], sync=False)
    assert open_archive(tmp_path / "a").entries
    with pytest.raises(StorageError, match="more files than can be read"):
        write(tmp_path / "b", "gzip", [bytes(20 * MIB)], sync=False)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_may_have_twice_the_bytes_of_what_is_before_it(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "_SMALL_INDEX", 0)
    write(tmp_path / "a", kind, [noise(number + 40) for number in range(300)])
    assert len(open_archive(tmp_path / "a").entries) == 301
    monkeypatch.setattr(index, "_INDEX_RATIO", 0.5)
    with pytest.raises(StorageError, match="more files than can be read"):
        write(tmp_path / "b", kind, [noise(number + 40) for number in range(300)])


@pytest.mark.parametrize("kind", KINDS)
def test_the_most_headers_that_are_written_are_the_most_that_are_read(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tar_header, "_BYTES_A_HEADER", 1 << 30)
    with tarfile.open(fileobj=io.BytesIO(unpacked(joined(write(tmp_path / "a", kind)))), mode="r:") as tar:
        headers = len(tar.getnames())
    # The index of the archive is a file too.
    monkeypatch.setattr(tar_header, "MAX_HEADERS", headers)
    write(tmp_path / "b", kind)
    assert len(list(stream_files(open_archive(tmp_path / "b")))) == 4
    monkeypatch.setattr(tar_header, "MAX_HEADERS", headers - 1)
    with pytest.raises(ArchiveError, match=f"more than {headers - 1} headers"):
        list(stream_files(open_archive(tmp_path / "b")))
    with pytest.raises(StorageError, match="more files than can be read"):
        write(tmp_path / "c", kind)
