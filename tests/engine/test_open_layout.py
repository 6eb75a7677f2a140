"""A layout is found by its path: an archive, any of its parts, or a directory."""

import asyncio
import gzip
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest

from hangar_async.archive import commit_record
from hangar_async.archive.commit_record import CommitRecord, Rename
from hangar_async.archive.read.layout import IndexedLayout, StreamedLayout
from hangar_async.config.options import (
    CompressOptions,
    DecompressOptions,
    ExtractOptions,
    ListOptions,
    MergeOptions,
    ServeOptions,
    VerifyOptions,
)
from hangar_async.config.output import OutputSettings
from hangar_async.engine.compress import compress, decompress, merge
from hangar_async.engine.extract import extract
from hangar_async.engine.ls import ls
from hangar_async.engine.open_layout import find_archive, layout_at, seekable_layout_at
from hangar_async.engine.serve import serve
from hangar_async.engine.verify import verify
from hangar_async.errors import ArchiveError, StorageError, UsageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.oci import Digest
from hangar_async.testing.images import image, index, layer
from tests.engine.forms import Saved, pack_as_hangar, parts
from tests.engine.loading import run_load, tagged
from tests.engine.made import make_cache
from tests.engine.verbs import through_every_verb
from tests.fakes.images import AMD64, ARM64, small
from tests.fakes.registry import FakeRegistry
from tests.fakes.sources import (
    COMPRESSIONS,
    NAME,
    docker,
    docker_before_1_10,
    hangar_zip,
    haul,
    named_oci,
    part_of,
    skopeo_directory,
    tar,
    unpacked,
    zipped,
)


def test_a_directory_is_no_archive_and_has_a_layout_of_files(everything: Saved) -> None:
    path = everything.at("dir")
    assert find_archive(path) is None
    assert isinstance(layout_at(path, None, lambda: None), DirectoryLayout)
    assert isinstance(seekable_layout_at(path), DirectoryLayout)


@pytest.mark.parametrize("form", ["gzip", "zstd", "gzip-3", "zstd-12"])
def test_an_archive_with_index_is_read_in_any_order(everything: Saved, form: str) -> None:
    path = everything.at(form)
    archive = find_archive(path)
    assert archive is not None
    assert archive.compression == form.partition("-")[0]
    assert isinstance(layout_at(path, archive, lambda: None), IndexedLayout)
    assert isinstance(seekable_layout_at(path), IndexedLayout)


def test_any_part_names_its_archive(everything: Saved) -> None:
    files = parts(everything.at("gzip-3"))
    for part in files:
        archive = find_archive(part)
        assert archive is not None
        assert [one.path for one in archive.volume.parts] == files


def test_an_archive_without_index_is_read_in_one_pass(everything: Saved) -> None:
    path = everything.at("hangar-gzip")
    archive = find_archive(path)
    assert isinstance(layout_at(path, archive, lambda: None), StreamedLayout)
    with pytest.raises(UsageError, match="has no index of its files") as caught:
        seekable_layout_at(path)
    assert "unpack its gzip" in caught.value.advice


def test_a_path_that_does_not_exist_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no "):
        find_archive(tmp_path / "none.tar.gz")


@pytest.mark.parametrize("name", ["a[1].tar.gz", "a*.tar.gz", "a?.tar.gz"])
def test_letters_of_patterns_in_a_name_stand_for_themselves(everything: Saved, tmp_path: Path, name: str) -> None:
    for number, part in enumerate(parts(everything.at("gzip-3"))):
        (tmp_path / f"{name}.part{number}").write_bytes(part.read_bytes())
    assert find_archive(tmp_path / name) is not None
    with pytest.raises(UsageError):
        find_archive(tmp_path / name.replace("a", "b"))


def test_a_file_that_is_no_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello")
    with pytest.raises(ArchiveError):
        find_archive(tmp_path / "text")


def test_a_path_that_cannot_be_looked_at_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        find_archive(tmp_path / ("x" * 300))


#: Commands that open an archive, by its path and a directory for outputs.
_OPENING: dict[str, Callable[[Path, Path], Awaitable[object]]] = {
    "ls": lambda path, _: ls(ListOptions(path)),
    "verify": lambda path, _: verify(VerifyOptions(path)),
    "serve": lambda path, _: serve(ServeOptions(source=path, listen="127.0.0.1:0")),
    "load": lambda path, place: run_load(place, path, "127.0.0.1:1"),
    "decompress": lambda path, place: decompress(DecompressOptions(archive=path, destination=place / "out")),
    "extract": lambda path, place: extract(ExtractOptions(source=path, image="x:1", destination=place / "out")),
    "compress": lambda path, _: compress(
        CompressOptions(cache=path.parent.parent / "dir" / "saved-image-cache", output=OutputSettings(target=path))
    ),
}


@pytest.mark.parametrize("verb", _OPENING)
async def test_a_cancellation_ends_the_hashing_for_a_commit_of_a_dead_run(
    everything: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    everything.copy("dir", tmp_path)
    path = everything.copy("gzip", tmp_path)
    run, checksums = "12-ab", path.with_name("all.tar.sha256")
    left = checksums.rename(path.with_name(f".all.tar.{run}.2.tmp"))
    renames = (
        Rename(f".all.tar.{run}.1.tmp", path.name, path.stat().st_size, Digest.of(path.read_bytes()).hex),
        Rename(left.name, checksums.name, left.stat().st_size, Digest.of(left.read_bytes()).hex),
    )
    record = CommitRecord(path.with_name(f".all.tar.{run}.commit"), path, run, renames, ())
    record.path.write_bytes(record.encode())
    reached = threading.Event()

    def endless(*_: object) -> Iterator[memoryview]:
        while True:
            reached.set()
            yield memoryview(b"")

    monkeypatch.setattr(commit_record, "read_pieces", endless)
    task = asyncio.ensure_future(_OPENING[verb](path, tmp_path))
    assert await asyncio.to_thread(reached.wait, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert record.path.exists()
    monkeypatch.undo()
    assert await asyncio.to_thread(find_archive, path) is not None
    assert checksums.exists()


PLAIN = image([layer({"a": b"a" * 9000}, "none"), layer({"b": b"b" * 3000}, "none")], AMD64)
PAIR = index([small("app"), small("app2", platform=ARM64)])
#: Sources of other programs that are made by hand: a name, its file or the files of a directory.
SOURCES: dict[str, Callable[[], bytes | Mapping[str, bytes]]] = {
    "oci-directory": lambda: named_oci(PAIR),
    "skopeo-directory": lambda: skopeo_directory(PAIR),
    "oci-with-leading-directory": lambda: tar(named_oci(PAIR), "folder/"),
    **{f"oci-{kind}": partial(lambda pack: pack(tar(named_oci(PAIR))), pack) for kind, pack in COMPRESSIONS.items()},
    **{f"docker-{kind}": partial(lambda pack: pack(tar(docker(PLAIN))), pack) for kind, pack in COMPRESSIONS.items()},
    "docker-old": lambda: tar(docker(PLAIN, old=True)),
    "docker-1.9": lambda: tar(docker_before_1_10(PLAIN, {"registry.example.com/team/app": "1"})),
    "skopeo-with-leading-directory": lambda: COMPRESSIONS["gzip"](tar(skopeo_directory(PAIR), "folder/")),
    "docker-29": lambda: tar(part_of(PAIR, small("app2", platform=ARM64))),
    "hangar-zip": lambda: zipped(hangar_zip("registry.example.com/team/app", "1", PAIR)),
    "haul": lambda: COMPRESSIONS["zstd"](tar(haul(PAIR, small("signature")))),
}


@pytest.mark.parametrize("name", SOURCES)
async def test_a_source_of_another_program_goes_through_every_verb(
    name: str, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    made, path = SOURCES[name](), tmp_path / "source"
    if isinstance(made, bytes):
        path.write_bytes(made)
    else:
        unpacked(path, made)
    digest = await through_every_verb(path, pushable_registry.address, tmp_path, NAME)
    assert await tagged(pushable_registry.content, "team/app:1") == digest


@pytest.mark.parametrize("form", ["dir", "gzip", "zstd-parts", "unpacked", "hangar-1.6"])
async def test_a_source_of_ours_goes_through_every_verb(
    form: str, pushable_registry: FakeRegistry, tmp_path: Path
) -> None:
    source = make_cache(tmp_path / "cache", {NAME: PAIR})
    path = tmp_path / "source"
    if form == "hangar-1.6":
        pack_as_hangar(source, path)
    elif form != "dir":
        kind, size = form.partition("-")[0], 1000 if "parts" in form else None
        output = OutputSettings(target=path, format=kind if size else "gzip", part_size=size, sync=False)
        await compress(CompressOptions(cache=source, output=output))
        assert (len(parts(path)) > 1) == (size is not None)
    if form == "unpacked":
        path.write_bytes(gzip.decompress(path.read_bytes()))
        path.with_name("source.sha256").unlink()
    await through_every_verb(source if form == "dir" else path, pushable_registry.address, tmp_path)
    found = await tagged(pushable_registry.content, "team/app:1")
    assert found == PAIR.digest or form == "hangar-1.6"


@pytest.mark.parametrize("compression", ["tar", "gzip"])
@pytest.mark.parametrize("verb", ["load", "extract", "merge"])
async def test_a_verb_compresses_each_layer_once_and_leaves_nothing(
    verb: str,
    compression: str,
    tmp_path: Path,
    pushable_registry: FakeRegistry,
    compressed: list[int],
) -> None:
    built = image([layer({"a": b"text" * 90_000}, "none")], AMD64)
    source, output = tmp_path / "saved", tmp_path / "output"
    source.write_bytes(COMPRESSIONS[compression](tar(docker(built))))
    (plain,) = (len(data) for digest, data in built.blobs.items() if len(data) > 90_000)
    if verb == "load":
        assert (await run_load(tmp_path, source, pushable_registry)).status == 0
    elif verb == "extract":
        await extract(ExtractOptions(source=source, image=NAME, destination=output, sync=False))
    else:
        to = OutputSettings(target=output, format="zstd", sync=False)
        assert (await merge(MergeOptions(sources=[source], output=to))).status == 0
    assert compressed == [plain]
    assert {one.name for one in tmp_path.iterdir()} <= {"saved", "output", "output.sha256"}
