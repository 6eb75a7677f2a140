"""Archives as layouts, with our index and without: the same names, the same content."""

import gzip
import io
import tarfile
from pathlib import Path

import pytest
import zstandard

from hangar_async.archive import tar_header
from hangar_async.archive.read import layout as module
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
    layout = archive_layout(archive)
    assert isinstance(layout, IndexedLayout if archive.index else StreamedLayout)
    assert list(layout.sizes().items()) == [(name, len(data)) for name, data in expected().items()]
    read = [(file.name, file.size, b"".join(bytes(piece) for piece in file.pieces)) for file in layout.files()]
    assert read == [(name, len(data), data) for name, data in expected().items()]


@pytest.mark.parametrize("path", FORMS, indirect=True)
def test_files_are_chosen_by_their_names(path: Path) -> None:
    layout = archive_layout(open_archive(path))
    names = list(expected())
    for chosen in ([names[3], names[0], "none"], [names[1]], [names[4], names[5]], [], names):
        read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in layout.files(chosen)}
        assert list(read.items()) == [(name, data) for name, data in expected().items() if name in chosen]
    # The rest of a file is passed over.
    assert [file.name for file in layout.files()] == names


@pytest.mark.parametrize("path", FORMS, indirect=True)
def test_blobs_have_the_digests_of_their_names(path: Path) -> None:
    archive = open_archive(path)
    for file in archive_layout(archive).files():
        if file.name.startswith("share/"):
            assert file.digest == Digest.of(expected()[file.name])
        else:  # of other files the index knows it
            assert file.digest == (Digest.of(b"{}") if archive.index else None)


@pytest.mark.parametrize("path", ["plain-gzip", "plain-zstd"], indirect=True)
def test_a_pass_can_be_interrupted(path: Path) -> None:
    """Within a large file too, also within one that is not read."""
    counts: list[str] = []
    for limit in (1, 3, 8):
        left = limit

        def check_interrupted() -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise Interrupted

        layout = archive_layout(open_archive(path), check_interrupted)
        with pytest.raises(Interrupted):
            layout.sizes()
        left = limit
        with pytest.raises(Interrupted):
            counts.extend(file.name for file in layout.files())
    assert len(counts) < 3 * len(BLOBS)


@pytest.mark.parametrize("path", ["plain-gzip", "plain-zstd"], indirect=True)
def test_small_files_cost_no_second_pass(path: Path) -> None:
    layout = archive_layout(open_archive(path))
    names = [name for name, data in expected().items() if len(data) <= 1 << 20]
    assert layout.sizes()
    path.unlink()
    read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in layout.files(names)}
    assert read == {name: expected()[name] for name in names}


@pytest.mark.parametrize("path", ["plain-gzip"], indirect=True)
def test_kept_content_is_bounded(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_MAX_KEPT", 70_002)
    layout = archive_layout(open_archive(path))
    assert isinstance(layout, StreamedLayout)
    assert layout.sizes()
    assert sum(map(len, layout._kept.values())) <= 70_003
    read = {file.name: b"".join(bytes(piece) for piece in file.pieces) for file in layout.files(list(expected()))}
    assert read == expected()


@pytest.mark.parametrize("path", ["plain-gzip"], indirect=True)
def test_too_many_files_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar_header, "MAX_HEADERS", 5)
    layout = archive_layout(open_archive(path))
    with pytest.raises(ArchiveError, match="more than 5 headers are in it"):
        layout.sizes()
    with pytest.raises(ArchiveError, match="more than 5 headers are in it"):
        list(layout.files())


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
    layout = archive_layout(open_archive(path))
    assert isinstance(layout, IndexedLayout)
    buffer = memoryview(bytearray(10_000))
    for name, data in expected().items():
        for start in (0, 1, len(data) // 2, len(data)):
            with layout.open(name, start) as reader:
                count = reader.readinto(buffer)
                assert bytes(buffer[:count]) == data[start : start + 10_000]
                reader.check()


@pytest.mark.parametrize("path", ["gzip", "zstd"], indirect=True)
def test_an_archive_that_changes_while_it_is_read_is_noticed(path: Path) -> None:
    layout = archive_layout(open_archive(path))
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


@pytest.mark.parametrize("path", ["plain-gzip"], indirect=True)
def test_an_archive_without_index_opens_no_single_file(path: Path) -> None:
    assert not hasattr(archive_layout(open_archive(path)), "open")


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_an_archive_that_lost_its_footer_is_noticed(tmp_path: Path, kind: str) -> None:
    stream = joined(write(tmp_path / "x.tar", kind, BLOBS, sync=False))
    (tmp_path / "x.tar").write_bytes(stream[: -50 if kind == "gzip" else -9])
    (tmp_path / "x.tar.sha256").unlink()
    layout = archive_layout(open_archive(tmp_path / "x.tar"))
    assert isinstance(layout, StreamedLayout)
    assert not layout.lost_footer
    assert list(layout.sizes()) == list(expected())
    assert layout.lost_footer
