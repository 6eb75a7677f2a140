"""Archives as holdings, with our index and without: the same names, the same content."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive.read import layout as module
from hangar_async.archive.read import tar_reader
from hangar_async.archive.read.archive import open_archive
from hangar_async.archive.read.layout import IndexedLayout, StreamedLayout, archive_layout
from hangar_async.errors import ArchiveError, StorageError
from hangar_async.oci.digest import Digest
from hangar_async.threads import Interrupted
from tests.archive.samples import contents, joined, noise, text, unpacked, write

BLOBS = (b"one", b"", noise(70_000), text(3_000_000), noise(2_500_000, 1))
FORMS = ["gzip", "zstd", "plain-gzip", "plain-zstd"]


@pytest.fixture
def path(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """An archive of BLOBS; a plain one is packed again, without index and footer."""
    kind = request.param.removeprefix("plain-")
    written = write(tmp_path / "x.tar", kind, BLOBS, part_size=400_000, sync=False)
    if request.param == kind:
        return tmp_path / "x.tar"
    files = contents(unpacked(joined(written)))
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:") as tar:
        for name, data in files.items():
            if not name.endswith("archive-index.json"):
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    raw = plain.getvalue()
    packed = gzip.compress(raw, 1) if kind == "gzip" else zstandard.ZstdCompressor().compress(raw)
    (tmp_path / "plain.tar").write_bytes(packed)
    return tmp_path / "plain.tar"


def expected() -> dict[str, bytes]:
    return {f"share/sha256/{Digest.of(data).hex}": data for data in BLOBS} | {f"{'f' * 64}/index.json": b"{}"}


@pytest.mark.parametrize("path", FORMS, indirect=True)
def test_all_files_are_read_in_stored_order(path: Path) -> None:
    archive = open_archive(path)
    found = archive_layout(archive)
    assert isinstance(found, IndexedLayout if archive.index else StreamedLayout)
    assert list(found.sizes().items()) == [(name, len(data)) for name, data in expected().items()]
    read = [(file.name, file.size, b"".join(bytes(piece) for piece in file.pieces)) for file in found.files()]
    assert read == [(name, len(data), data) for name, data in expected().items()]


@pytest.mark.parametrize("path", FORMS, indirect=True)
def test_files_are_chosen_by_their_names(path: Path) -> None:
    found = archive_layout(open_archive(path))
    names = list(expected())
    for wanted in ([names[3], names[0], "none"], [names[1]], [names[4], names[5]], [], names):
        read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in found.files(wanted)}
        assert list(read.items()) == [(name, data) for name, data in expected().items() if name in wanted]
    # What is not read of a file is passed over.
    assert [file.name for file in found.files()] == names


@pytest.mark.parametrize("path", FORMS, indirect=True)
def test_blobs_promise_their_digests(path: Path) -> None:
    archive = open_archive(path)
    for file in archive_layout(archive).files():
        if file.name.startswith("share/"):
            assert file.digest == Digest.of(expected()[file.name])
        else:  # of other files the index knows it
            assert file.digest == (Digest.of(b"{}") if archive.index else None)


@pytest.mark.parametrize("path", ["plain-gzip", "plain-zstd"], indirect=True)
def test_a_pass_can_be_interrupted(path: Path) -> None:
    """Within a large file too, also one that nobody reads."""
    counts: list[str] = []
    for limit in (1, 3, 8):
        left = limit

        def goes_on() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Interrupted

        found = archive_layout(open_archive(path), goes_on)
        with pytest.raises(Interrupted):
            found.sizes()
        left = limit
        with pytest.raises(Interrupted):
            counts.extend(file.name for file in found.files())
    assert len(counts) < 3 * len(BLOBS)


@pytest.mark.parametrize("path", ["plain-gzip", "plain-zstd"], indirect=True)
def test_small_files_cost_no_second_pass(path: Path) -> None:
    found = archive_layout(open_archive(path))
    names = [name for name, data in expected().items() if len(data) <= 1 << 20]
    assert found.sizes()
    path.unlink()
    read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in found.files(names)}
    assert read == {name: expected()[name] for name in names}


@pytest.mark.parametrize("path", ["plain-gzip"], indirect=True)
def test_what_is_kept_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_KEPT", 70_002)
    found = archive_layout(open_archive(path))
    assert isinstance(found, StreamedLayout)
    assert found.sizes()
    assert sum(map(len, found._kept.values())) <= 70_003
    read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in found.files(list(expected()))}
    assert read == expected()


@pytest.mark.parametrize("path", ["plain-gzip"], indirect=True)
def test_too_many_files_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_reader, "_MOST_HEADERS", 5)
    found = archive_layout(open_archive(path))
    with pytest.raises(ArchiveError, match="more than 5 headers are in it"):
        found.sizes()
    with pytest.raises(ArchiveError, match="more than 5 headers are in it"):
        list(found.files())


@pytest.mark.parametrize("path", ["gzip", "zstd"], indirect=True)
def test_a_damaged_file_does_not_hide_the_others(path: Path) -> None:
    archive = open_archive(path)
    entry = list(archive.entries.values())[3]
    part = archive.volume.part_at(entry.offset + 100)
    data = bytearray(part.path.read_bytes())
    start = entry.offset + 100 - part.start
    data[start : start + 2000] = bytes(2000)
    part.path.write_bytes(data)
    failed = []
    for file in archive_layout(open_archive(path)).files():
        try:
            read = b"".join(bytes(piece) for piece in file.pieces)
        except ArchiveError:
            failed.append(file.name)
        else:
            if read != expected()[file.name]:
                failed.append(file.name)
    assert failed == [entry.name.removeprefix("saved-image-cache/")]


@pytest.mark.parametrize("path", ["gzip", "zstd"], indirect=True)
def test_any_file_is_read_from_any_byte_on(path: Path) -> None:
    found = archive_layout(open_archive(path))
    assert isinstance(found, IndexedLayout)
    buffer = memoryview(bytearray(10_000))
    for name, data in expected().items():
        for start in (0, 1, len(data) // 2, len(data)):
            with found.open(name, start) as reader:
                count = reader.readinto(buffer)
                assert bytes(buffer[:count]) == data[start : start + 10_000]
                reader.check()


@pytest.mark.parametrize("path", ["gzip", "zstd"], indirect=True)
def test_an_archive_that_changes_while_it_is_read_is_noticed(path: Path) -> None:
    found = archive_layout(open_archive(path))
    assert isinstance(found, IndexedLayout)
    name = list(expected())[4]
    buffer = memoryview(bytearray(1000))
    part = found.archive.volume.part_at(found.archive.entries[f"saved-image-cache/{name}"].offset)
    with found.open(name) as reader:
        assert reader.readinto(buffer) == 1000
        reader.check()
        data = part.path.read_bytes()
        part.path.write_bytes(bytes(len(data)))
        with pytest.raises(ArchiveError, match="is not the file any more"):
            reader.check()
        part.path.unlink()
        with pytest.raises(StorageError, match="No such file"):
            reader.check()
    with pytest.raises(StorageError, match="No such file"), found.open(name) as reader:
        reader.readinto(buffer)


@pytest.mark.parametrize("path", ["plain-gzip"], indirect=True)
def test_an_archive_without_index_has_no_way_in(path: Path) -> None:
    assert not hasattr(archive_layout(open_archive(path)), "open")
