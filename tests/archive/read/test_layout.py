"""Archives as layouts, with our index and without: the same names, the same content."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive import tar_header
from hangar_async.archive.read import layout as module
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.forms import archive_layout
from hangar_async.archive.read.layout import IndexedLayout, StreamedLayout, stream_files
from hangar_async.errors import ArchiveError, StorageError
from hangar_async.oci.digest import Digest
from hangar_async.threads import Interrupted
from tests.archive.read.rig import LAYOUT_BLOBS
from tests.archive.samples import (
    BLOBS as SAMPLES,
    KINDS,
    MIB,
    ROOT,
    blob_path,
    joined,
    noise,
    text,
    write,
)

FORMS = ["gzip", "zstd", "plain-gzip", "plain-zstd"]


def expected() -> dict[str, bytes]:
    return {f"share/sha256/{Digest.of(data).hex}": data for data in LAYOUT_BLOBS} | {f"{'f' * 64}/index.json": b"{}"}


@pytest.mark.parametrize("archive_path", FORMS, indirect=True)
def test_all_files_are_read_in_stored_order(archive_path: Path) -> None:
    archive = open_archive(archive_path)
    layout = archive_layout(archive)
    assert isinstance(layout, IndexedLayout if archive.index else StreamedLayout)
    assert list(layout.sizes().items()) == [(name, len(data)) for name, data in expected().items()]
    read = [(file.name, file.size, b"".join(bytes(piece) for piece in file.pieces)) for file in layout.files()]
    assert read == [(name, len(data), data) for name, data in expected().items()]


@pytest.mark.parametrize("archive_path", FORMS, indirect=True)
def test_files_are_chosen_by_their_names(archive_path: Path) -> None:
    layout = archive_layout(open_archive(archive_path))
    names = list(expected())
    for chosen in ([names[3], names[0], "none"], [names[1]], [names[4], names[5]], [], names):
        read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in layout.files(chosen)}
        assert list(read.items()) == [(name, data) for name, data in expected().items() if name in chosen]
    # The rest of a file is passed over.
    assert [file.name for file in layout.files()] == names


@pytest.mark.parametrize("archive_path", FORMS, indirect=True)
def test_blobs_have_the_digests_of_their_names(archive_path: Path) -> None:
    archive = open_archive(archive_path)
    for file in archive_layout(archive).files():
        if file.name.startswith("share/"):
            assert file.digest == Digest.of(expected()[file.name])
        else:  # of other files the index knows it
            assert file.digest == (Digest.of(b"{}") if archive.index else None)


@pytest.mark.parametrize("archive_path", ["plain-gzip", "plain-zstd"], indirect=True)
def test_a_pass_can_be_interrupted(archive_path: Path) -> None:
    """Within a large file too, also within one that is not read."""
    counts: list[str] = []
    for limit in (1, 3, 8):
        left = limit

        def check_interrupted() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Interrupted

        layout = archive_layout(open_archive(archive_path), check_interrupted)
        with pytest.raises(Interrupted):
            layout.sizes()
        left = limit
        with pytest.raises(Interrupted):
            counts.extend(file.name for file in layout.files())
    assert len(counts) < 3 * len(LAYOUT_BLOBS)


@pytest.mark.parametrize("archive_path", ["plain-gzip", "plain-zstd"], indirect=True)
def test_small_files_cost_no_second_pass(archive_path: Path) -> None:
    layout = archive_layout(open_archive(archive_path))
    names = [name for name, data in expected().items() if len(data) <= 1 << 20]
    assert layout.sizes()
    archive_path.unlink()
    read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in layout.files(names)}
    assert read == {name: expected()[name] for name in names}


@pytest.mark.parametrize("archive_path", ["plain-gzip"], indirect=True)
def test_kept_content_is_bounded(archive_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KEPT", 70_002)
    layout = archive_layout(open_archive(archive_path))
    assert isinstance(layout, StreamedLayout)
    assert layout.sizes()
    assert sum(map(len, layout._kept.values())) <= 70_003
    read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in layout.files(list(expected()))}
    assert read == expected()


@pytest.mark.parametrize("archive_path", ["plain-gzip"], indirect=True)
def test_too_many_files_are_refused(archive_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_header, "MAX_HEADERS", 5)
    monkeypatch.setattr(tar_header, "_BYTES_A_HEADER", 1 << 30)
    layout = archive_layout(open_archive(archive_path))
    with pytest.raises(ArchiveError, match="more than 5 headers are in it"):
        layout.sizes()
    with pytest.raises(ArchiveError, match="more than 5 headers are in it"):
        list(layout.files())


@pytest.mark.parametrize("archive_path", ["gzip", "zstd"], indirect=True)
def test_a_damaged_file_does_not_hide_the_others(archive_path: Path) -> None:
    archive = open_archive(archive_path)
    entry = list(archive.entries.values())[3]
    part = archive.volume.part_at(entry.offset + 100)
    data = bytearray(part.path.read_bytes())
    start = entry.offset + 100 - part.start
    data[start : start + 2000] = bytes(2000)
    part.path.write_bytes(data)
    failed = []
    for file in archive_layout(open_archive(archive_path)).files():
        try:
            read = b"".join(bytes(piece) for piece in file.pieces)
        except ArchiveError:
            failed.append(file.name)
        else:
            if read != expected()[file.name]:
                failed.append(file.name)
    assert failed == [entry.name.removeprefix("saved-image-cache/")]


@pytest.mark.parametrize("archive_path", ["gzip", "zstd"], indirect=True)
def test_any_file_is_read_from_any_byte_on(archive_path: Path) -> None:
    layout = archive_layout(open_archive(archive_path))
    assert isinstance(layout, IndexedLayout)
    buffer = memoryview(bytearray(10_000))
    for name, data in expected().items():
        for start in (0, 1, len(data) // 2, len(data)):
            with layout.open(name, start) as reader:
                count = reader.readinto(buffer)
                assert bytes(buffer[:count]) == data[start : start + 10_000]
                reader.check()


@pytest.mark.parametrize("archive_path", ["gzip", "zstd"], indirect=True)
def test_an_archive_that_changes_while_it_is_read_is_noticed(archive_path: Path) -> None:
    layout = archive_layout(open_archive(archive_path))
    assert isinstance(layout, IndexedLayout)
    name = list(expected())[4]
    buffer = memoryview(bytearray(1000))
    part = layout.archive.volume.part_at(layout.archive.entries[f"saved-image-cache/{name}"].offset)
    with layout.open(name) as reader:
        assert reader.readinto(buffer) == 1000
        reader.check()
        data = part.path.read_bytes()
        part.path.write_bytes(bytes(len(data)))
        with pytest.raises(ArchiveError, match="has changed since"):
            reader.check()
        part.path.unlink()
        with pytest.raises(StorageError, match="No such file"):
            reader.check()
    with pytest.raises(StorageError, match="No such file"), layout.open(name) as reader:
        reader.readinto(buffer)


@pytest.mark.parametrize("archive_path", ["plain-gzip"], indirect=True)
def test_an_archive_without_index_opens_no_single_file(archive_path: Path) -> None:
    assert not hasattr(archive_layout(open_archive(archive_path)), "open")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_an_archive_that_lost_its_footer_is_noticed(tmp_path: Path, kind: str) -> None:
    stream = joined(write(tmp_path / "x.tar", kind, LAYOUT_BLOBS, sync=False))
    (tmp_path / "x.tar").write_bytes(stream[: -50 if kind == "gzip" else -9])
    (tmp_path / "x.tar.sha256").unlink()
    layout = archive_layout(open_archive(tmp_path / "x.tar"))
    assert isinstance(layout, StreamedLayout)
    assert not layout.lost_footer
    assert list(layout.sizes()) == list(expected())
    assert layout.lost_footer


FOLDER = f"{ROOT}/{'a' * 64}"
FILES = {
    blob_path(noise(100_000)): noise(100_000),
    blob_path(text(3 * MIB)): text(3 * MIB),
    blob_path(b""): b"",
    f"{ROOT}/share/sha512/{'5' * 128}": b"long name",
    f"{FOLDER}/index.json": b"{}",
    f"{FOLDER}/oci-layout": b"{}",
    f"{ROOT}/saved-images-list.json": b"{}",
}
DIRECTORIES = [ROOT, f"{ROOT}/share", f"{ROOT}/share/sha256", FOLDER, f"{FOLDER}/blobs"]


def foreign(kind: int, prefix: str = "") -> bytes:
    """A tar as other programs write it."""
    data = io.BytesIO()
    with tarfile.open(fileobj=data, mode="w", format=kind) as opened:
        for name in DIRECTORIES:
            member = tarfile.TarInfo(prefix + name)
            member.type, member.uname, member.mtime = tarfile.DIRTYPE, "root", 1.5 if kind == tarfile.PAX_FORMAT else 1
            opened.addfile(member)
        for name, content in FILES.items():
            member = tarfile.TarInfo(prefix + name)
            member.size = len(content)
            opened.addfile(member, io.BytesIO(content))
    return data.getvalue()


def read(archive_path: Path, data: bytes, compress: Callable[[bytes], bytes] = gzip.compress) -> dict[str, bytes]:
    archive_path.write_bytes(compress(data))
    return {file.name: file.readall() for file in stream_files(open_archive(archive_path))}


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "gzip in members": lambda data: b"".join(
        gzip.compress(data[at : at + 99_999]) for at in range(0, len(data), 99_999)
    ),
    "gzip padded": lambda data: gzip.compress(data) + bytes(5000),
    "zstd": zstandard.ZstdCompressor(write_checksum=True).compress,
    "zstd in frames": lambda data: b"".join(
        zstandard.ZstdCompressor().compress(data[at : at + 99_999]) for at in range(0, len(data), 99_999)
    ),
    "zstd of unknown size": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
    "zstd skippable first": lambda data: b"\x50\x2a\x4d\x18\x03\0\0\0abc" + zstandard.ZstdCompressor().compress(data),
}


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=list(COMPRESSIONS))
@pytest.mark.parametrize("kind", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_archives_of_other_programs_are_read(tmp_path: Path, compress: Callable[[bytes], bytes], kind: int) -> None:
    assert read(tmp_path / "a", foreign(kind), compress) == FILES


def test_names_that_start_with_a_dot_are_the_same(tmp_path: Path) -> None:
    assert read(tmp_path / "a", foreign(tarfile.GNU_FORMAT, "./")) == FILES


def test_the_rest_of_a_file_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(foreign(tarfile.PAX_FORMAT)))
    assert [file.name for file in stream_files(open_archive(tmp_path / "a"))] == list(FILES)
    starts = [file.read(10) for file in stream_files(open_archive(tmp_path / "a"))]
    assert starts == [content[:10] for content in FILES.values()]


def one(kind: bytes, name: str, *, content: bytes = b"", size: int | None = None, target: str = "") -> bytes:
    """One member, with the size that it claims."""
    claimed = len(content) if size is None else size
    return tar_header.header(kind, name, size=claimed, target=target) + content + tar_header.padding(len(content))


GOOD = one(tar_header.FILE, f"{ROOT}/index.json", content=b"{}")
LINK = one(tar_header.LINK, f"{ROOT}/blobs", target="share")
HOSTILE: dict[str, tuple[bytes, str]] = {
    "absolute": (one(tar_header.FILE, "/etc/passwd"), "no name that an archive"),
    "upwards": (one(tar_header.FILE, f"{ROOT}/../x"), "no name that an archive"),
    "upwards within a name": (one(tar_header.FILE, f"{ROOT}/share/sha256/../../x"), "no name that an archive"),
    "foreign": (one(tar_header.FILE, f"{ROOT}/share/sha256/abc"), "no name that an archive"),
    "line break": (one(tar_header.FILE, f"{ROOT}/index.json\n"), "no name that an archive"),
    "long": (one(tar_header.FILE, "n" * 5000), "no name that an archive"),
    "directory": (one(tar_header.DIRECTORY, f"{ROOT}/other"), "no directory that an archive"),
    "directory upwards": (one(tar_header.DIRECTORY, ".."), "no directory that an archive"),
    "link elsewhere": (one(tar_header.LINK, f"{ROOT}/blobs", target="/etc"), "link, device"),
    "link of another name": (one(tar_header.LINK, f"{ROOT}/share", target="share"), "link, device"),
    "hard link": (one(b"1", f"{ROOT}/index.json", target="/etc/passwd"), "link, device"),
    "device": (one(b"3", f"{ROOT}/index.json"), "link, device"),
    "pipe": (one(b"6", f"{ROOT}/index.json"), "link, device"),
    "unknown kind": (one(b"S", f"{ROOT}/index.json"), "link, device"),
    "twice": (GOOD + GOOD, "is there twice"),
    "link with data": (one(tar_header.LINK, f"{ROOT}/blobs", target="share", size=512) + bytes(512), "has data"),
    "10 GB": (one(tar_header.FILE, f"{ROOT}/index.json", size=10 << 30), "ends too early"),
    "exabytes": (one(tar_header.FILE, f"{ROOT}/index.json", size=1 << 62), "ends too early"),
    "huge long name": (one(tar_header.LONG_NAME, "x", size=8 << 30), "more than any name needs"),
    "huge pax header": (one(b"x", "x", size=8 << 30), "more than any name needs"),
    "huge global header": (one(b"g", "x", size=8 << 30), "more than any name needs"),
    "pax without a length": (one(b"x", "x", content=b"path=/etc/passwd\n") + GOOD, "pax header is damaged"),
    "pax with a wrong length": (one(b"x", "x", content=b"99 path=/x\n") + GOOD, "pax header is damaged"),
    "pax path": (one(b"x", "x", content=b"20 path=/etc/passwd\n") + GOOD, "no name that an archive"),
    "pax size": (one(b"x", "x", content=b"11 size=-1\n") + GOOD, "impossible size"),
    "pax size that is none": (one(b"x", "x", content=b"10 size=z\n") + GOOD, "impossible size"),
    "pax sparse": (one(b"x", "x", content=b"22 GNU.sparse.major=1\n") + GOOD, "sparse"),
    "header of nothing": (one(b"x", "x", content=b"10 path=x\n"), "belongs to no member"),
    "rubbish": (b"\xff" * 512, "are not a tar header"),
    "short": (GOOD[:700], "ends too early"),
}


@pytest.mark.parametrize(("data", "problem"), HOSTILE.values(), ids=list(HOSTILE))
def test_a_member_of_no_such_archive_is_refused(tmp_path: Path, data: bytes, problem: str) -> None:
    ended = data if problem == "ends too early" else data + tar_header.end(len(data))
    with pytest.raises(ArchiveError, match=problem) as caught:
        read(tmp_path / "a", LINK + ended)
    assert caught.value.path == str(tmp_path / "a")


def test_the_one_link_is_passed_over(tmp_path: Path) -> None:
    assert read(tmp_path / "a", LINK + GOOD + bytes(1024)) == {f"{ROOT}/index.json": b"{}"}


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_content_after_the_tar_is_refused(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    with pytest.raises(ArchiveError, match="follows the end"):
        read(tmp_path / "a", GOOD + bytes(1024) + GOOD, compress)


def test_a_wrong_checksum_of_the_stream_is_found(tmp_path: Path) -> None:
    def compress(data: bytes) -> bytes:
        packed = bytearray(gzip.compress(data))
        packed[-6] ^= 1
        return bytes(packed)

    with pytest.raises(ArchiveError, match="damaged"):
        read(tmp_path / "a", GOOD + bytes(1024), compress)


@pytest.mark.parametrize("compress", [gzip.compress, zstandard.ZstdCompressor().compress])
def test_a_bomb_takes_no_memory(tmp_path: Path, compress: Callable[[bytes], bytes]) -> None:
    size = 200 * MIB
    header = one(tar_header.FILE, blob_path(b"bomb"), size=size)
    (tmp_path / "a").write_bytes(compress(header + bytes(size) + bytes(1024)))
    tracemalloc.start()
    try:
        (file,) = stream_files(open_archive(tmp_path / "a"))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file.size == size
    assert peak < 16 * MIB


def test_a_zstd_window_above_the_usual_is_refused(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    compress = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    (tmp_path / "a").write_bytes(compress.compress(foreign(tarfile.GNU_FORMAT)) + compress.flush())
    with pytest.raises(ArchiveError, match="damaged"):
        list(stream_files(open_archive(tmp_path / "a")))


def test_a_pass_that_is_given_up_leaves_no_file_open(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(gzip.compress(foreign(tarfile.GNU_FORMAT)))
    before = os.listdir("/dev/fd")
    files = stream_files(open_archive(tmp_path / "a"))
    next(files)
    files.close()  # type: ignore[attr-defined]
    assert os.listdir("/dev/fd") == before


def test_an_indexed_archive_is_read_in_one_pass(archive: Archive) -> None:
    found = {file.name: file.readall() for file in stream_files(archive)}
    assert found == {blob_path(data): data for data in SAMPLES} | {f"{ROOT}/{'f' * 64}/index.json": b"{}"}
    assert [file.size for file in stream_files(archive)] == [*map(len, SAMPLES), 2]


@pytest.mark.parametrize("kind", KINDS)
def test_an_archive_cut_anywhere_is_found_or_whole(tmp_path: Path, kind: str) -> None:
    blobs = [noise(3000), text(5000), b""]
    stream = joined(write(tmp_path / "a", kind, blobs))
    whole = {file.name for file in stream_files(open_archive(tmp_path / "a"))}
    ends = set()
    for size in [*range(4, len(stream), 97), *range(len(stream) - 60, len(stream))]:
        (tmp_path / "b").write_bytes(stream[:size])
        try:
            found = {file.name for file in stream_files(open_archive(tmp_path / "b"))}
        except ArchiveError:
            continue
        # Only bytes after the tar may go unseen, and then nothing of it is lost.
        assert found == whole
        ends.add(size)
    assert all(size >= len(stream) - 200 for size in ends)
