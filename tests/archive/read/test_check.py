from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hangar_async.archive import formats
from hangar_async.archive.entries import PackedEntries
from hangar_async.archive.index import ArchiveIndex
from hangar_async.archive.read import check
from hangar_async.archive.read.archive import Archive, SeekTable, open_archive, read_seek_table
from hangar_async.archive.read.tar_reader import TarError
from hangar_async.archive.tar_header import BLOCK
from hangar_async.errors import ArchiveError
from hangar_async.threads import Interrupted
from tests.archive.samples import KINDS, MIB, ROOT, blob_path, noise, text, with_index, write


def nothing(*_: int) -> None:
    pass


def test_a_whole_archive_passes_all_checks(archive: Archive) -> None:
    check.check_index(archive)
    check.check_stream(archive, nothing)
    sizes: list[int] = []
    for part in archive.volume.parts:
        check.check_part(archive.volume, part, sizes.append)
    assert sum(sizes) == archive.volume.size


@pytest.mark.parametrize("kind", KINDS)
def test_every_check_can_be_interrupted(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind, [noise(MIB)])
    archive = open_archive(tmp_path / "a")

    def stop(*_: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        check.check_index(archive, stop)
    with pytest.raises(Interrupted):
        check.check_stream(archive, stop)
    with pytest.raises(Interrupted):
        check.check_part(archive.volume, archive.volume.parts[0], stop)


def test_a_part_without_a_digest_is_not_read(tmp_path: Path) -> None:
    write(tmp_path / "a", "gzip")
    (tmp_path / "a.sha256").unlink()
    volume = open_archive(tmp_path / "a").volume
    (tmp_path / "a").unlink()
    check.check_part(volume, volume.parts[0], nothing)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip", [noise(200_000)], part_size=50_000)
    damaged = bytearray(written.files[2].read_bytes())
    damaged[1000] ^= 1
    written.files[2].write_bytes(damaged)
    archive = open_archive(tmp_path / "a")
    damaged_parts = []
    for part in archive.volume.parts:
        try:
            check.check_part(archive.volume, part, nothing)
        except ArchiveError as error:
            damaged_parts.append(error.path)
    assert damaged_parts == [str(written.files[2])]
    with pytest.raises(ArchiveError, match="another content"):
        archive.read(archive.entries[blob_path(noise(200_000))], MIB)


def test_an_index_that_leaves_out_or_moves_a_file_is_found(tmp_path: Path) -> None:
    archive = open_archive(with_index(tmp_path, "gzip", lambda document: document["entries"].pop(0)))
    with pytest.raises(ArchiveError, match="tar headers before"):
        check.check_index(archive)

    def swap(document: Any) -> None:
        first, second = document["entries"][:2]
        for key in ("name", "digest"):
            first[key], second[key] = second[key], first[key]

    archive = open_archive(with_index(tmp_path, "gzip", swap))
    with pytest.raises(ArchiveError, match="tar headers before"):
        check.check_index(archive)
    with pytest.raises(ArchiveError, match="another content"):
        archive.read(next(iter(archive.entries.values())), MIB)


@pytest.mark.parametrize("kind", KINDS)
def test_headers_missing_in_the_index_are_bounded(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_MAX_HEADERS", 4096)
    monkeypatch.setattr(check, "_USUAL_HEADERS", 1024)
    write(tmp_path / "a", kind, [noise(100_000), *(noise(100, seed) for seed in range(20)), noise(100_000, seed=1)])
    archive = open_archive(tmp_path / "a")
    check.check_index(archive)
    assert archive.index is not None
    for kept in (archive.index.entries[1:], archive.index.entries[:-2], ()):
        archive = open_archive(tmp_path / "a")
        archive.index = ArchiveIndex(kind, PackedEntries(kept))
        with pytest.raises(ArchiveError, match="the index leaves out files that are here"):
            check.check_index(archive)


@pytest.mark.parametrize(
    ("sizes", "problem"),
    [
        ({0: (0, 1)}, "table of frames says"),
        ({-1: (1, 0)}, "does not fit the frames"),
    ],
    ids=["wrong content", "wrong length"],
)
def test_a_wrong_seek_table_is_found(
    tmp_path: Path, sizes: dict[int, tuple[int, int]], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decoders pass the table over, so that nothing else would find it."""
    write(tmp_path / "a", "zstd", [noise(3000), text(5000)])
    archive = open_archive(tmp_path / "a")
    entries = [[length, content] for _, length, content in read_seek_table(archive.volume).frames()]
    for number, (length, content) in sizes.items():
        entries[number][0] += length
        entries[number][1] += content
    table = SeekTable(b"".join(formats.SEEK_ENTRY.pack(*entry) for entry in entries))
    monkeypatch.setattr(check, "read_seek_table", lambda _: table)
    with pytest.raises(ArchiveError, match=problem):
        check.check_stream(archive, nothing)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_without_a_tar_header_is_found(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind, [b"", noise(3000)])
    archive = open_archive(tmp_path / "a")
    empty, *rest = archive.entries.values()
    archive.index = ArchiveIndex(kind, PackedEntries((empty, replace(empty, name=f"{ROOT}/oci-layout"), *rest)))
    del archive.entries
    with pytest.raises(ArchiveError, match=r"tar headers before .*/oci-layout are wrong: the tar ends too early"):
        check.check_index(archive)
    with pytest.raises(TarError, match="it has none"):
        check._check_headers(bytearray(BLOCK), 0, "name", 0)


@pytest.mark.parametrize("kind", KINDS)
def test_an_entry_that_begins_too_late_is_found(tmp_path: Path, kind: str) -> None:
    write(tmp_path / "a", kind, [text(5000)])
    archive = open_archive(tmp_path / "a")
    first, *rest = archive.entries.values()
    archive.index = ArchiveIndex(
        kind, PackedEntries((replace(first, offset=first.offset + first.length, length=0), *rest))
    )
    del archive.entries
    with pytest.raises(ArchiveError, match="more follows where the data should begin"):
        check.check_index(archive)
