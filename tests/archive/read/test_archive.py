import gzip
import json
import os
import struct
import tempfile
import tracemalloc
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from hangar_async.archive import index
from hangar_async.archive.index import Entry, Footer
from hangar_async.archive.read import check
from hangar_async.archive.read import footer as footer_module
from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.archive.read.stream import stream_files
from hangar_async.errors import ArchiveError
from hangar_async.oci.digest import Digest
from tests.archive.samples import GZIP_MAGIC, ROOT, blob_path, contents, joined, noise, text, unpacked, write
from tests.refusal import attempt

KINDS = ("gzip", "zstd")
MIB = 1 << 20
BLOBS = [noise(300_000), text(2_500_000), b"", b"x", bytes(5 * MIB), noise(65535 * 3, seed=1), text(513)]


def nothing(_: int) -> None:
    pass


def content(archive: Archive, entry: Entry, start: int = 0) -> bytes:
    with archive.open(entry, start) as reader:
        return reader.readall()


@pytest.fixture(scope="module", params=[(kind, size) for kind in KINDS for size in (None, 100_000, 9_999)], ids=str)
def archive(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Archive:
    kind, part_size = request.param
    directory = tmp_path_factory.mktemp("archive")
    write(directory / "a", kind, BLOBS, part_size=part_size)
    return open_archive(directory / "a.part0" if part_size else directory / "a")


def test_every_file_is_read_by_its_place(archive: Archive) -> None:
    for data in BLOBS:
        entry = archive.entries[blob_path(data)]
        assert content(archive, entry) == data
        assert archive.read(entry, len(data)) == data
    assert archive.index is not None
    assert [entry.name for entry in archive.index.entries] == [*map(blob_path, BLOBS), f"{ROOT}/{'f' * 64}/index.json"]
    check.check_index(archive)
    for part in archive.volume.parts:
        check.check_part(archive.volume, part, nothing)


def test_any_end_of_a_file_is_read(archive: Archive) -> None:
    for data in BLOBS:
        entry = archive.entries[blob_path(data)]
        for start in {0, 1, 65534, 65535, 65536, 2 * MIB, 2 * MIB + 1, len(data) // 2, len(data) - 1, len(data)}:
            if 0 <= start <= len(data):
                assert content(archive, entry, start) == data[start:]
        assert content(archive, entry, len(data) + 1) == b""


def test_it_is_read_in_one_pass(archive: Archive) -> None:
    found = {file.name: file.readall() for file in stream_files(archive)}
    assert found == {blob_path(data): data for data in BLOBS} | {f"{ROOT}/{'f' * 64}/index.json": b"{}"}
    assert [file.size for file in stream_files(archive)] == [*map(len, BLOBS), 2]


def test_one_blob_of_many_touches_little_more_than_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blobs = [noise(MIB, seed=seed) for seed in range(40)]
    for kind in KINDS:
        write(tmp_path / "a", kind, blobs, part_size=7 * MIB, sync=False)
        touched = 0
        readv, read = os.preadv, os.pread

        def counting(file: int, buffers: Sequence[Any], offset: int) -> int:
            nonlocal touched
            count = readv(file, buffers, offset)  # noqa: B023
            touched += count
            return count

        def reading(file: int, size: int, offset: int) -> bytes:
            nonlocal touched
            data = read(file, size, offset)  # noqa: B023
            touched += len(data)
            return data

        monkeypatch.setattr(os, "preadv", counting)
        monkeypatch.setattr(os, "pread", reading)
        archive = open_archive(tmp_path / "a")
        assert content(archive, archive.entries[blob_path(blobs[25])]) == blobs[25]
        assert MIB <= touched < MIB + 64_000
        touched = 0
        assert content(archive, archive.entries[blob_path(blobs[26])], MIB - 100) == blobs[26][-100:]
        assert touched < (100_000 if kind == "gzip" else MIB + 64_000)
        monkeypatch.undo()


def test_a_range_of_a_large_zstd_blob_skips_whole_frames(tmp_path: Path) -> None:
    data = text(9 * MIB)
    write(tmp_path / "a", "zstd", [data])
    archive = open_archive(tmp_path / "a")
    entry = archive.entries[blob_path(data)]
    with archive.open(entry, 7 * MIB) as reader:
        assert reader._window.tell() < entry.length / 2
        assert reader.readall() == data[7 * MIB :]


def test_a_limit_of_what_is_read_whole(archive: Archive) -> None:
    with pytest.raises(ArchiveError, match="more than the 100 expected"):
        archive.read(archive.entries[blob_path(BLOBS[0])], 100)


def test_an_archive_without_an_index_has_none(tmp_path: Path) -> None:
    tar = unpacked(joined(write(tmp_path / "a", "gzip")))
    (tmp_path / "b").write_bytes(zlib.compress(tar, wbits=31))
    (tmp_path / "c").write_bytes(zstandard.ZstdCompressor().compress(tar))
    for name, kind in (("b", "gzip"), ("c", "zstd")):
        archive = open_archive(tmp_path / name)
        assert (archive.index, archive.compression, dict(archive.entries)) == (None, kind, {})
        assert len(list(stream_files(archive))) == 4


def test_without_the_fast_library_zlib_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "gzip", BLOBS)
    monkeypatch.setattr("hangar_async.archive.deflate._fast", zlib)
    monkeypatch.setattr("hangar_async.archive.deflate._gzip_file", gzip.GzipFile)
    archive = open_archive(tmp_path / "a")
    streamed = {file.name: file.readall() for file in stream_files(archive)}
    for data in BLOBS:
        assert content(archive, archive.entries[blob_path(data)]) == streamed[blob_path(data)] == data


@pytest.mark.parametrize("data", [b"x", b"ustar", b"\x1f\x8b", b"PK\x03\x04" + bytes(100)])
def test_what_is_no_archive(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "a").write_bytes(data)
    with pytest.raises(ArchiveError, match="neither gzip nor zstd"):
        open_archive(tmp_path / "a")


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_a_flipped_bit_is_found_or_harmless(kind: str, data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as directory:
        blobs = [noise(3000), text(5000), b"", bytes(20_000)]
        stream = bytearray(joined(write(Path(directory, "a"), kind, blobs, sync=False)))
        position = data.draw(st.integers(0, len(stream) - 1))
        stream[position] ^= 1 << data.draw(st.integers(0, 7))
        Path(directory, "b").write_bytes(stream)
        try:
            archive = open_archive(Path(directory, "b"))
            check.check_index(archive)
            for entry in archive.entries.values():
                archive.read(entry, entry.size)
        except ArchiveError:
            return
        for blob in blobs if archive.index is not None else ():
            assert content(archive, archive.entries[blob_path(blob)]) == blob


@pytest.mark.parametrize("kind", KINDS)
def test_any_cut_is_found(tmp_path: Path, kind: str) -> None:
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
        # Only what stands behind the tar may go unseen, and then nothing of it is lost.
        assert found == whole
        ends.add(size)
    assert all(size >= len(stream) - 200 for size in ends)


# An index that lies: each case changes the document, or the footer, of an archive that was right.


def relist(directory: Path, kind: str, change: Any, footer: Footer | None = None) -> Path:
    """Write an archive and put another index, and perhaps footer, behind it."""
    stream = joined(write(directory / "a", kind, [noise(3000), text(5000)]))
    document = json.loads(contents(unpacked(stream))[f"{ROOT}/archive-index.json"])
    change(document)
    raw = document if isinstance(document, bytes) else json.dumps(document).encode()
    deflate = zlib.compressobj(wbits=-15)
    packed = (
        deflate.compress(raw) + deflate.flush(zlib.Z_FULL_FLUSH)
        if kind == "gzip"
        else zstandard.ZstdCompressor().compress(raw)
    )
    payload = (footer or Footer(len(stream), len(packed))).payload()
    if kind == "gzip":
        tail = footer_module._MEMBER_START + payload + footer_module._MEMBER_END
    else:
        tail = footer_module._FRAME_START + payload + struct.pack("<IIIBI", 0x184D2A5E, 9, 0, 0, 0x8F92EAB1)
    (directory / "b").write_bytes(stream + packed + tail)
    return directory / "b"


def first(**changes: Any) -> Any:
    return lambda document: document["entries"][0].update(changes)


CHANGES: dict[str, Any] = {
    "version": lambda document: document.update(version=2),
    "compression": lambda document: document.update(compression="xz"),
    "no entries": lambda document: document.pop("entries"),
    "wrong types": lambda document: document.update(entries={}),
    "deep": lambda document: document.update(entries=[json.loads("[" * 900 + "]" * 900)]),
    "twice": lambda document: document["entries"].append(document["entries"][-1]),
    "upwards": first(name=f"{ROOT}/../x"),
    "absolute": first(name="/etc/passwd"),
    "foreign name": first(name=f"{ROOT}/share/sha256/x"),
    "itself": first(name=f"{ROOT}/archive-index.json"),
    "digest of another": first(digest="sha256:" + "0" * 64),
    "no digest": first(digest="md5:" + "0" * 32),
    "negative size": first(size=-1),
    "huge size": first(size=1 << 63),
    "negative offset": first(offset=-1),
    "behind the end": first(offset=1 << 40),
    "longer than the archive": first(length=1 << 40),
    "overlap": lambda document: document["entries"][1].update(offset=document["entries"][0]["offset"]),
    "unknown encoding": first(encoding="none"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_an_index_that_lies_is_refused(tmp_path: Path, kind: str, change: Any) -> None:
    path = relist(tmp_path, kind, change)
    with pytest.raises(ArchiveError, match="index is wrong") as caught:
        open_archive(path)
    assert caught.value.path == str(path)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_of_the_other_format_is_refused(tmp_path: Path, kind: str) -> None:
    other = {"gzip": "zstd", "zstd": "gzip"}[kind]
    path = relist(tmp_path, kind, lambda document: document.update(compression=other, entries=[]))
    with pytest.raises(ArchiveError, match=f"of a {other} archive"):
        open_archive(path)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("footer", [Footer(1 << 62, 10), Footer(0, 1 << 62), Footer(10, 0), Footer((1 << 64) - 1, 1)])
def test_a_footer_that_lies_is_refused(tmp_path: Path, kind: str, footer: Footer) -> None:
    with pytest.raises(ArchiveError, match="where it cannot be"):
        open_archive(relist(tmp_path, kind, lambda _: None, footer))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"size": 2999}, "more than its 2999 bytes"),
        ({"size": 3001}, "1 bytes too early"),
        ({"size": 10 << 30}, "too early"),
        ({"length": 10}, "too early|stored blocks are none"),
        ({"length": 0}, "too early"),
    ],
)
def test_an_entry_that_lies_is_an_error_when_it_is_read(
    tmp_path: Path, kind: str, changes: dict[str, int], problem: str
) -> None:
    archive = open_archive(relist(tmp_path, kind, first(**changes)))
    entry = archive.entries[blob_path(noise(3000))]
    with archive.open(entry) as reader, pytest.raises(ArchiveError, match=problem):
        while reader.read(1 << 16):
            pass
    with pytest.raises(ArchiveError):
        archive.open(entry, 2 << 30 if entry.size > 1 << 31 else 2999).readall()
    with pytest.raises(ArchiveError):
        check.check_index(archive)


def test_an_index_that_leaves_out_or_moves_a_file_is_found(tmp_path: Path) -> None:
    archive = open_archive(relist(tmp_path, "gzip", lambda document: document["entries"].pop(0)))
    with pytest.raises(ArchiveError, match="tar headers before"):
        check.check_index(archive)

    def swap(document: Any) -> None:
        one, two = document["entries"][:2]
        for key in ("name", "digest"):
            one[key], two[key] = two[key], one[key]

    archive = open_archive(relist(tmp_path, "gzip", swap))
    with pytest.raises(ArchiveError, match="tar headers before"):
        check.check_index(archive)
    with pytest.raises(ArchiveError, match="another content"):
        archive.read(next(iter(archive.entries.values())), MIB)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_index_leaves_out_is_not_held(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "_MOST_HEADERS", 4096)
    monkeypatch.setattr(check, "_USUAL", 1024)
    write(tmp_path / "a", kind, [noise(100_000), *(noise(100, seed) for seed in range(20)), noise(100_000, seed=1)])
    archive = open_archive(tmp_path / "a")
    check.check_index(archive)
    assert archive.index is not None
    for kept in (archive.index.entries[1:], archive.index.entries[:-2], ()):
        archive = open_archive(tmp_path / "a")
        archive.index = index.Index(kind, kept)
        with pytest.raises(ArchiveError, match="the index leaves out what is here"):
            check.check_index(archive)


@pytest.mark.parametrize("kind", KINDS)
def test_an_index_that_unpacks_to_gigabytes_is_refused(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hangar_async.archive.read.archive._MOST_INDEX", MIB)
    path = relist(tmp_path, kind, lambda document: document.update(more="x" * 40 * MIB))
    with pytest.raises(ArchiveError, match="index is too large"):
        open_archive(path)


def test_a_damaged_part_is_named(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip", [noise(200_000)], part_size=50_000)
    damaged = bytearray(written.files[2].read_bytes())
    damaged[1000] ^= 1
    written.files[2].write_bytes(damaged)
    archive = open_archive(tmp_path / "a")
    bad = []
    for part in archive.volume.parts:
        try:
            check.check_part(archive.volume, part, nothing)
        except ArchiveError as error:
            bad.append(error.path)
    assert bad == [str(written.files[2])]
    with pytest.raises(ArchiveError, match="another content"):
        archive.read(archive.entries[blob_path(noise(200_000))], MIB)


@given(st.binary(max_size=200))
def test_an_index_of_any_bytes_is_an_error_of_ours(data: bytes) -> None:
    with pytest.raises(ValueError):
        index.decode(data, 1000)


def test_the_index_reads_back() -> None:
    entries = tuple(
        Entry(
            f"{ROOT}/share/sha512/{str(number) * 128}", Digest("sha512", str(number) * 128), number, number, 1, "zstd"
        )
        for number in range(10)
    )
    assert index.decode(index.encode("zstd", entries), 100).entries == entries


_entries = st.lists(
    st.tuples(
        st.builds(Digest.of, st.binary(max_size=3), st.sampled_from(["sha256", "sha512"])),
        *[st.integers(0, 1 << 40)] * 3,
        st.sampled_from(["stored", "deflate"]),
    ),
    max_size=6,
    unique_by=lambda one: one[0],
)


@given(_entries)
def test_any_index_reads_back(made: list[tuple[Digest, int, int, int, Any]]) -> None:
    entries, position = [], 0
    for digest, size, gap, length, encoding in made:
        name = f"{ROOT}/share/{digest.algorithm}/{digest.hex}"
        entries.append(Entry(name, digest, size, position + gap, length, encoding))
        position += gap + length
    assert index.decode(index.encode("gzip", entries), position) == index.Index("gzip", tuple(entries))
    if position and entries[-1].length:
        with pytest.raises(ValueError, match="cannot be where"):
            index.decode(index.encode("gzip", entries), position - 1)


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=5) | st.sampled_from(["gzip", "stored", "sha256:" + "a" * 64]),
        lambda below: (
            st.lists(below, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["version", "compression", "entries", "name", "digest", "size", "offset", "length", "encoding"]
                ),
                below,
            )
        ),
        max_leaves=12,
    )
)
def test_an_index_of_any_values_is_read_or_a_value_error(value: Any) -> None:
    found = attempt(lambda: index.decode(json.dumps(value).encode("utf-8", "surrogatepass"), 1000), ValueError)
    assert found is None or not found.entries


def test_an_index_of_many_small_entries_takes_little_memory() -> None:
    entry = b'{"name":"ab","digest":"ab","size":0,"offset":0,"length":0,"encoding":"zstd"},'
    raw = b'{"version":1,"compression":"zstd","entries":[' + entry * 400_000 + entry[:-1] + b"]}"
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="more than 2,097,152 values"):
            index.decode(raw, 0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MIB


@given(st.binary(max_size=24).filter(lambda payload: not payload.startswith(b"HGRSEEK1")))
def test_other_bytes_are_no_footer(payload: bytes) -> None:
    assert Footer.of(payload) is None
    assert Footer.of(Footer(1, 2).payload()) == Footer(1, 2)
    assert Footer.of(Footer(1, 2).payload() + b"x") is None
    assert GZIP_MAGIC
