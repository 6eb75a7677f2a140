"""`compress` makes what a save would have made; `decompress` gives it back, and refuses what is hostile."""

import asyncio
import errno
import gzip
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import zstandard

from hangar_async.archive.read.archive import open_archive
from hangar_async.config.options import CompressOptions, DecompressOptions, MergeOptions, VerifyOptions
from hangar_async.config.output import OutputSettings
from hangar_async.disk import Disk
from hangar_async.engine.compress import compress, decompress, merge
from hangar_async.engine.events import Checked, CheckStarted, Event, ImageEnded, RunEnded, RunStarted
from hangar_async.engine.pack import ArchivePacker
from hangar_async.engine.verify import verify
from hangar_async.errors import ArchiveError, ContentError, HangarError, StorageError, UsageError
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.images import read_cache
from hangar_async.oci import Image
from hangar_async.oci.digest import Digest
from hangar_async.testing.images import image, layer
from hangar_async.threads import in_thread
from tests.engine.forms import ARCHIVES, HANGARS, OURS, Saved, flip, parts, tree
from tests.engine.made import make_layout
from tests.engine.rig import Countdown, read
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.images import AMD64, small
from tests.fakes.sources import skopeo_directory, tar
from tests.layout.rig import REF, Made


def packing(cache: Path, target: Path, kind: str = "gzip", **keywords: Any) -> CompressOptions:
    return CompressOptions(cache=cache, output=OutputSettings(target=target, format=kind, sync=False, **keywords))


def unpacking(archive: Path, target: Path, **keywords: Any) -> DecompressOptions:
    return DecompressOptions(archive=archive, destination=target, sync=False, **keywords)


def joined(path: Path) -> bytes:
    return b"".join(part.read_bytes() for part in parts(path))


@pytest.mark.parametrize("which", ["everything", "partial"])
@pytest.mark.parametrize("form", OURS)
async def test_it_makes_what_save_made(
    everything: Saved, partial: Saved, tmp_path: Path, form: str, which: str
) -> None:
    saved = {"everything": everything, "partial": partial}[which]
    cache = saved.copy("dir", tmp_path)
    kind, count = OURS[form]
    files = parts(saved.at(form))
    size = files[0].stat().st_size if count > 1 else None
    events: list[Event] = []
    report = await compress(packing(cache, tmp_path / "all.tar", kind, part_size=size), events.append)
    assert report.status == 0
    assert report.output is not None
    assert [path.name for path in report.output.files] == [path.name for path in files]
    assert [path.read_bytes() for path in report.output.files] == [path.read_bytes() for path in files]
    assert (tmp_path / "all.tar.sha256").read_bytes() == (saved.at(form).parent / "all.tar.sha256").read_bytes()
    assert tree(cache) == tree(saved.at("dir"))
    assert isinstance(events[0], RunStarted)
    assert isinstance(events[-1], RunEnded)
    assert sum(isinstance(event, ImageEnded) for event in events) == len(saved.built)


async def test_the_next_two_images_are_checked_while_one_is_packed(
    everything: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = everything.copy("dir", tmp_path)
    images = (await in_thread(lambda: read_cache(DirectoryLayout(cache)))).images
    checked, changed, packed = list[Event](), asyncio.Event(), list[Image]()
    pack = ArchivePacker.add

    def observe(event: Event) -> None:
        if isinstance(event, Checked):
            checked.append(event)
            changed.set()

    async def add(self: ArchivePacker, image: Image) -> None:
        packed.append(image)
        wanted = sum(len(one.contents) for one in images[: len(packed) + 2])
        while len(checked) < wanted:
            changed.clear()
            async with asyncio.timeout(30):
                await changed.wait()
        await pack(self, image)

    monkeypatch.setattr(ArchivePacker, "add", add)
    assert (await compress(packing(cache, tmp_path / "all.tar"), observe)).status == 0
    assert len(packed) == len(images)


@pytest.mark.parametrize("form", OURS)
async def test_unpacked_and_packed_again_it_is_the_same(everything: Saved, tmp_path: Path, form: str) -> None:
    await decompress(unpacking(everything.at(form), tmp_path / "cache"))
    assert (await compress(packing(tmp_path / "cache", tmp_path / "x.tar", OURS[form][0]))).status == 0
    assert joined(tmp_path / "x.tar") == joined(everything.at(form))


@pytest.mark.parametrize("form", HANGARS)
async def test_a_cache_of_hangar_becomes_an_archive(everything: Saved, tmp_path: Path, form: str) -> None:
    await decompress(unpacking(everything.at(form), tmp_path / "cache"))
    assert not (tmp_path / "cache" / "index.json").exists()
    report = await compress(packing(tmp_path / "cache", tmp_path / "x.tar"))
    assert report.status == 0
    verdict = await verify(VerifyOptions(tmp_path / "x.tar"))
    assert verdict.problems == ()
    assert [image.name for image in verdict.images] == list(everything.built)
    for found in verdict.images:
        # What names an image of several platforms is an index of them, made here.
        assert found.root is not None
        if len(found.platforms) == 1:
            assert found.root.digest == found.platforms[0].descriptor.digest
    await compress(packing(tmp_path / "cache", tmp_path / "again.tar"))
    assert joined(tmp_path / "again.tar") == joined(tmp_path / "x.tar")


async def test_a_damaged_blob_costs_its_images_alone(everything: Saved, tmp_path: Path) -> None:
    cache = everything.copy("dir", tmp_path)
    name, built = next((name, built) for name, built in everything.built.items() if "/plain:1" in name)
    digest = max(built.blobs, key=lambda one: len(built.blobs[one]))
    path = cache / "share" / "sha256" / digest.hex
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    report = await compress(packing(cache, tmp_path / "x.tar"))
    assert report.status == 1
    (failed,) = report.failed
    assert failed.entry.text == name
    assert isinstance(failed.error, ContentError)
    assert str(digest) in str(failed.error)
    verdict = await verify(VerifyOptions(tmp_path / "x.tar"))
    assert verdict.problems == ()
    assert [image.name for image in verdict.images] == [one for one in everything.built if one != name]
    archive = await in_thread(open_archive, tmp_path / "x.tar")
    assert f"saved-image-cache/share/sha256/{digest.hex}" not in archive.entries


async def test_when_nothing_is_whole_nothing_is_made(everything: Saved, tmp_path: Path) -> None:
    cache = everything.copy("dir", tmp_path)
    shutil.rmtree(cache / "share")
    (tmp_path / "x.tar").write_text("earlier")
    report = await compress(packing(cache, tmp_path / "x.tar"))
    assert report.status == 3
    assert report.output is None
    assert len(report.failed) == len(everything.built)
    assert (tmp_path / "x.tar").read_text() == "earlier"


async def test_content_of_earlier_runs_stays_out(everything: Saved, tmp_path: Path) -> None:
    cache = everything.copy("dir", tmp_path)
    stranger = Digest.of(b"stranger")
    (cache / "share" / "sha256" / stranger.hex).write_bytes(b"stranger")
    (cache / ("0" * 64)).mkdir()
    (cache / ("0" * 64) / "index.json").write_text("{}")
    (cache / "notes.txt").write_text("mine")
    (cache / ".partial").mkdir()
    (cache / "archive-index.json").write_text("{}")
    await compress(packing(cache, tmp_path / "x.tar"))
    assert joined(tmp_path / "x.tar") == joined(everything.at("gzip"))


async def test_links_in_a_cache_are_not_followed(everything: Saved, tmp_path: Path) -> None:
    cache = everything.copy("dir", tmp_path)
    _, built = next((name, built) for name, built in everything.built.items() if "/plain:1" in name)
    path = cache / "share" / "sha256" / next(iter(built.blobs)).hex
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    report = await compress(packing(cache, tmp_path / "x.tar"))
    assert len(report.failed) == 1


async def test_there_must_be_a_cache(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no cache directory"):
        await compress(packing(tmp_path / "none", tmp_path / "x.tar"))
    (tmp_path / "cache").mkdir()
    with pytest.raises(ContentError, match="there are no images in it"):
        await compress(packing(tmp_path / "cache", tmp_path / "x.tar"))
    assert os.listdir(tmp_path / "cache") == []
    with pytest.raises(UsageError, match=r"would replace .*, which this command uses"):
        await compress(packing(tmp_path / "cache", tmp_path / "cache"))
    with pytest.raises(UsageError, match="is a directory"):
        await compress(packing(tmp_path / "cache", tmp_path))
    with pytest.raises(UsageError, match="unknown format"):
        packing(tmp_path / "cache", tmp_path / "x", "dir")


@pytest.mark.parametrize("form", ARCHIVES)
async def test_the_cache_comes_back(everything: Saved, tmp_path: Path, form: str) -> None:
    output = await decompress(unpacking(everything.at(form), tmp_path / "cache"))
    expected = tree(everything.at("dir"))
    if form in HANGARS:
        expected = {name: data for name, data in expected.items() if name not in ("index.json", "oci-layout")}
    assert tree(tmp_path / "cache") == expected
    assert os.readlink(tmp_path / "cache" / "blobs") == "share"
    assert output.files == (tmp_path / "cache",)
    assert output.size == sum(len(data) for data in expected.values() if isinstance(data, bytes))
    assert os.listdir(tmp_path) == ["cache"]
    assert (await verify(VerifyOptions(tmp_path / "cache"))).problems == ()


async def test_any_part_names_the_archive(everything: Saved, tmp_path: Path) -> None:
    for number in ("00", "07", "11"):
        path = everything.at("gzip-12")
        await decompress(unpacking(path.with_name(f"{path.name}.part{number}"), tmp_path / number))
        assert tree(tmp_path / number) == tree(everything.at("dir"))


async def test_the_format_is_that_of_the_content(everything: Saved, tmp_path: Path) -> None:
    for form in ("gzip", "zstd-3"):
        other = "zstd" if form == "gzip" else "gzip"
        with pytest.raises(UsageError, match=f"is {OURS[form][0]}, not {other}"):
            await decompress(unpacking(everything.at(form), tmp_path / "x", format=other))
        await decompress(unpacking(everything.at(form), tmp_path / form, format=OURS[form][0]))
    with pytest.raises(UsageError, match="unknown format"):
        unpacking(tmp_path, tmp_path, format="xz")
    with pytest.raises(UsageError, match="is a directory"):
        await decompress(unpacking(everything.at("dir"), tmp_path / "x"))
    with pytest.raises(UsageError, match="there is no"):
        await decompress(unpacking(tmp_path / "none", tmp_path / "x"))


async def test_the_destination_must_be_free(everything: Saved, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").touch()
    for target in (tmp_path / "full", tmp_path / "full" / "mine", tmp_path / "none" / "x", Path()):
        with pytest.raises(UsageError):
            await decompress(unpacking(everything.at("gzip"), target))
    (tmp_path / "link").symlink_to("full")
    with pytest.raises(UsageError):
        await decompress(unpacking(everything.at("gzip"), tmp_path / "link"))
    assert os.listdir(tmp_path / "full") == ["mine"]
    (tmp_path / "empty").mkdir()
    await decompress(unpacking(everything.at("gzip"), tmp_path / "empty"))


async def test_damage_anywhere_leaves_nothing(everything: Saved, tmp_path: Path) -> None:
    """Also in the small files, for which no blob's name vouches."""
    (tmp_path / "out").mkdir()
    for form in ("gzip", "zstd-12"):
        path = everything.copy(form, tmp_path)
        archive = await in_thread(open_archive, path)
        entries = list(archive.entries.values())
        folder = next(entry for entry in entries if "/share/" not in entry.name)
        for entry in (entries[0], folder, entries[-1]):
            flip(path, entry.offset + entry.length // 2)
            with pytest.raises((ArchiveError, ContentError)):
                await decompress(unpacking(path, tmp_path / "out" / "x"))
            assert os.listdir(tmp_path / "out") == []
            flip(path, entry.offset + entry.length // 2)


BLOB = b"content"
NAME = f"saved-image-cache/share/sha256/{Digest.of(BLOB).hex}"
LIST = ("saved-image-cache/saved-images-list.json", b'{"List": [], "Version": "v1.1.0"}')


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def archive(path: Path, *members: tuple[tarfile.TarInfo, bytes], kind: str = "gzip") -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w:", format=tarfile.PAX_FORMAT) as tar:
        for info, data in members:
            tar.addfile(info, io.BytesIO(data))
    data = plain.getvalue()
    path.write_bytes(gzip.compress(data) if kind == "gzip" else zstandard.ZstdCompressor().compress(data))
    return path


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@pytest.mark.parametrize(
    ("hostile", "match"),
    [
        (member("../evil", BLOB), r"'\.\./evil' is no name"),
        (member("saved-image-cache/../evil", BLOB), "is no name"),
        (member("saved-image-cache/share/sha256/../../evil", BLOB), "is no name"),
        (member("/etc/evil", BLOB), "'/etc/evil' is no name"),
        (member("saved-image-cache/share/sha256/" + "A" * 64, BLOB), "is no name"),
        (member("saved-image-cache/" + "x" * 5000, BLOB), "is no name"),
        (member("saved-image-cache/" + "x/" * 40000, BLOB), "more than any name needs|is no name"),
        (member("saved-image-cache/share/sha256/\u202e", BLOB), "is no name"),
        (member("saved-image-cache/.lock", BLOB), "is no name"),
        (member(NAME, BLOB), "there twice"),
        (member("saved-image-cache/x", type=tarfile.SYMTYPE, linkname="/etc"), "link, device"),
        (member("saved-image-cache/blobs", type=tarfile.SYMTYPE, linkname="../.."), "link, device"),
        (member("saved-image-cache/share", type=tarfile.SYMTYPE, linkname="/tmp"), "link, device"),
        (member("saved-image-cache/share/sha256/x", type=tarfile.LNKTYPE, linkname=NAME), "link, device"),
        (member("saved-image-cache/null", type=tarfile.CHRTYPE), "link, device"),
        (member("saved-image-cache/disk", type=tarfile.BLKTYPE), "link, device"),
        (member("saved-image-cache/pipe", type=tarfile.FIFOTYPE), "link, device"),
        (member("../up", type=tarfile.DIRTYPE), "no directory"),
        (member("saved-image-cache/share/sha256/" + "0" * 64, BLOB), "damaged"),
        (member("saved-image-cache/share/sha256/" + "0" * 64, type=tarfile.GNUTYPE_SPARSE), "link, device|sparse"),
    ],
)  # fmt: skip
async def test_a_hostile_entry_is_refused_by_name(
    tmp_path: Path, hostile: tuple[tarfile.TarInfo, bytes], match: str, kind: str
) -> None:
    path = archive(tmp_path / "x.tar", member(NAME, BLOB), hostile, member(*LIST), kind=kind)
    (tmp_path / "out").mkdir()
    with pytest.raises((ArchiveError, ContentError), match=match):
        await decompress(unpacking(path, tmp_path / "out" / "cache"))
    assert os.listdir(tmp_path / "out") == []
    assert sorted(os.listdir(tmp_path)) == ["out", "x.tar"]


@pytest.mark.parametrize("claimed", [1 << 20, 10 << 30, 8**20])
async def test_a_bomb_ends_at_its_declared_size(tmp_path: Path, claimed: int) -> None:
    """More than it declares is not read, less is the end of the tar."""
    written = 64 << 20
    info = tarfile.TarInfo(f"saved-image-cache/share/sha256/{'0' * 64}")
    info.size = claimed
    with gzip.open(tmp_path / "x.tar", "wb", 6) as file:
        file.write(info.tobuf(tarfile.GNU_FORMAT))
        for _ in range(written >> 20):
            file.write(bytes(1 << 20))
    most = 0

    def watch(event: Event) -> None:
        nonlocal most
        for path in (tmp_path / "out").rglob("0" * 64):
            most = max(most, path.stat().st_size)

    (tmp_path / "out").mkdir()
    with pytest.raises((ArchiveError, ContentError), match=r"damaged|ends too early"):
        await decompress(unpacking(tmp_path / "x.tar", tmp_path / "out" / "x"), watch)
    assert most <= min(claimed, written)
    assert os.listdir(tmp_path / "out") == []


async def test_an_archive_of_something_else_is_refused(tmp_path: Path) -> None:
    path = archive(tmp_path / "x.tar", member(NAME, BLOB))
    with pytest.raises(ArchiveError, match=r"no saved-images-list\.json in it"):
        await decompress(unpacking(path, tmp_path / "x"))
    with pytest.raises(ArchiveError, match=r"no saved-images-list\.json in it"):
        await decompress(unpacking(archive(tmp_path / "x.tar"), tmp_path / "x"))
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize("form", ["gzip", "hangar-zstd"])
async def test_a_disk_that_fails_at_any_operation_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, partial: Saved, form: str
) -> None:
    disk = FaultyDisk()
    monkeypatch.setattr("hangar_async.engine.outputs.Disk", lambda: disk)
    made = DecompressOptions(archive=partial.at(form), destination=tmp_path / "x")
    disk.start()
    await decompress(made)
    assert tree(tmp_path / "x")["blobs"] == "share"
    for number in sorted({*range(5), *range(0, disk.count, disk.count // 5), *range(disk.count - 5, disk.count)}):
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        disk.start(fail_at=number)
        with pytest.raises(StorageError, match="No space left"):
            await decompress(made)
        assert os.listdir(tmp_path) == [], f"left by operation {number}"


async def test_a_file_system_without_links_gets_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, everything: Saved
) -> None:
    class Linkless(Disk):
        def link(self, path: Path, target: str) -> bool:
            return False

    monkeypatch.setattr("hangar_async.engine.outputs.Disk", Linkless)
    await decompress(unpacking(everything.at("gzip"), tmp_path / "x"))
    expected = tree(everything.at("dir"))
    del expected["blobs"]
    assert tree(tmp_path / "x") == expected


async def test_unpacking_can_be_cancelled(everything: Saved, tmp_path: Path) -> None:
    for form in ("gzip", "hangar-gzip", "zstd-12"):
        for number in (1, 2, 30, 60):
            countdown = Countdown(number)
            task = asyncio.create_task(decompress(unpacking(everything.at(form), tmp_path / "x"), countdown))
            countdown.watched = task
            with pytest.raises(asyncio.CancelledError):
                await task
            assert os.listdir(tmp_path) in ([], ["x"])
            shutil.rmtree(tmp_path / "x", ignore_errors=True)


async def test_packing_can_be_cancelled(everything: Saved, tmp_path: Path) -> None:
    cache = everything.copy("dir", tmp_path)
    for number in (1, 2, 10, 60):
        countdown = Countdown(number)
        task = asyncio.create_task(compress(packing(cache, tmp_path / "x.tar"), countdown))
        countdown.watched = task
        with pytest.raises(asyncio.CancelledError):
            await task
        assert os.listdir(tmp_path) == ["dir"]
    assert (await verify(VerifyOptions(cache))).problems == ()


async def test_a_hostile_cache_is_packed_by_its_names_alone(tmp_path: Path) -> None:
    """A list that points elsewhere, or names one folder twice, brings nothing in."""
    (tmp_path / "cache").mkdir()
    made = Made(tmp_path / "cache")
    manifest = made.manifest(0)
    made.image("good", manifest, manifest)
    made.image("evil", manifest, manifest)
    await in_thread(made.read)
    document = json.loads((tmp_path / "cache" / "saved-images-list.json").read_text())
    for folder in ("../../etc", "/etc", ".", "share", document["List"][0]["Images"][0]["Folder"].upper()):
        document["List"][1]["Images"][0]["Folder"] = folder
        (tmp_path / "cache" / "saved-images-list.json").write_text(json.dumps(document))
        with pytest.raises(ContentError, match="is not the name of a folder"):
            await compress(packing(tmp_path / "cache", tmp_path / "x.tar"))
    document["List"][1]["Images"][0]["Folder"] = document["List"][0]["Images"][0]["Folder"]
    (tmp_path / "cache" / "saved-images-list.json").write_text(json.dumps(document))
    assert (await compress(packing(tmp_path / "cache", tmp_path / "x.tar"))).status == 0
    assert (await verify(VerifyOptions(tmp_path / "x.tar"))).problems == ()


async def test_a_failing_disk_leaves_the_earlier_archive(
    everything: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = everything.copy("dir", tmp_path)
    (tmp_path / "x.tar").write_text("earlier")
    real: Callable[..., int] = os.write

    def full(descriptor: int, data: Any) -> int:
        if len(data) > 10_000:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(HangarError, match="No space left"):
        await compress(packing(cache, tmp_path / "x.tar"))
    assert (tmp_path / "x.tar").read_text() == "earlier"
    assert sorted(os.listdir(tmp_path)) == ["dir", "x.tar"]


@pytest.mark.parametrize("form", ["gzip", "hangar-zstd", "dir"])
async def test_any_source_becomes_an_archive_of_ours(everything: Saved, tmp_path: Path, form: str) -> None:
    """With the same images, and of an archive of ours with the same bytes as of its cache."""
    report = await compress(packing(everything.copy(form, tmp_path / "a"), tmp_path / "x.tar"))
    assert report.status == 0
    expected = {image.name: image.digest for image in await in_thread(read, everything.at(form))}
    found = {image.name: image.digest for image in await in_thread(read, tmp_path / "x.tar")}
    assert found.keys() == expected.keys()
    assert {name: digest for name, digest in found.items() if expected[name] is not None} == {
        name: digest for name, digest in expected.items() if digest is not None
    }
    assert (await verify(VerifyOptions(tmp_path / "x.tar"))).problems == ()
    if form == "gzip":
        await compress(packing(everything.copy("dir", tmp_path / "b"), tmp_path / "y.tar"))
        assert (tmp_path / "x.tar").read_bytes() == (tmp_path / "y.tar").read_bytes()
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


async def test_sources_of_other_programs_become_one_archive(tmp_path: Path) -> None:
    one, two = small("one"), small("two")
    make_layout(tmp_path / "a", [(one, {REF: "one:1"}), (two, {})])
    (tmp_path / "b").write_bytes(tar(skopeo_directory(two)))
    output = packing(tmp_path, tmp_path / "x.tar").output
    report = await merge(MergeOptions(sources=[tmp_path / "a", tmp_path / "b"], output=output))
    assert report.status == 0
    assert [image.reference.cache_name for image in await in_thread(read, tmp_path / "x.tar")] == [
        "docker.io/library/one:1",
        f"localhost/a:{two.digest.tag}",
        f"localhost/b:{two.digest.tag}",
    ]
    (tmp_path / "a" / "blobs" / "sha256" / next(iter(one.blobs)).hex).unlink()
    report = await merge(MergeOptions(sources=[tmp_path / "a", tmp_path / "b"], output=output))
    assert [outcome.ok for outcome in report.outcomes] == [False, True, True]
    with pytest.raises(UsageError, match="--prefer"):
        MergeOptions(sources=[tmp_path], output=output, prefer="newest")
    with pytest.raises(UsageError, match="no source"):
        MergeOptions(sources=[], output=output)


async def test_a_merge_reports_all_bytes_that_it_reads(tmp_path: Path) -> None:
    """Of a layer that two images share too; an image that is not whole is not read."""
    base = layer({"base": b"base" * 5000})
    one, two = image([base, layer({"a": b"1"})], AMD64), image([base, layer({"a": b"2"})], AMD64)
    source = make_layout(tmp_path / "a", [(one, {REF: "one:1"}), (two, {REF: "two:1"}), (small("x"), {REF: "x:1"})])
    (source / "blobs" / "sha256" / next(iter(small("x").blobs)).hex).unlink()
    seen: list[Event] = []
    await merge(MergeOptions(sources=[source], output=packing(tmp_path, tmp_path / "x.tar").output), seen.append)
    (size,) = (event.size for event in seen if isinstance(event, CheckStarted))
    assert size == sum(event.gained for event in seen if isinstance(event, Checked))
    assert seen.index(CheckStarted(size)) < seen.index(next(event for event in seen if isinstance(event, Checked)))
    contents = {**one.blobs, **two.blobs}
    assert size > 2 * sum(map(len, contents.values()))
