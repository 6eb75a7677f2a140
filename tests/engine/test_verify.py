"""What `verify` finds: everything that was changed, and nothing where nothing was."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import io
import os
import tarfile
import tracemalloc
import zlib
from collections.abc import Callable
from functools import partial as bound
from pathlib import Path
from typing import Any

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async.archive.read.archive import Archive, open_archive
from hangar_async.config.options import VerifyOptions
from hangar_async.engine.events import Checked, CheckStarted, Event
from hangar_async.engine.outcomes import Verdict
from hangar_async.engine.verify import verify
from hangar_async.errors import StorageError, UsageError
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import LayoutImages
from hangar_async.threads import in_thread
from tests.engine.forms import FORMS, HANGARS, OURS, Saved, flip, pack_as_hangar, parts
from tests.engine.rig import Countdown, at_work
from tests.layout.rig import of, read


def said(verdict: Verdict) -> str:
    assert verdict.status == 1
    return "\n".join(verdict.problems)


async def catalog_of(path: Path) -> LayoutImages:
    return await in_thread(read, path)


def without_digests(path: Path) -> None:
    path.with_name(f"{path.name}.sha256").unlink()


@pytest.mark.parametrize("form", FORMS)
async def test_an_intact_source_has_no_problem(everything: Saved, form: str) -> None:
    events: list[Event] = []
    verdict = await verify(VerifyOptions(everything.at(form)), events.append)
    assert verdict.problems == ()
    assert verdict.status == 0
    assert [image.name for image in verdict.images] == list(everything.built)
    assert sum(event.gained for event in events if isinstance(event, Checked)) == verdict.size
    assert [event.size for event in events if isinstance(event, CheckStarted)] in ([verdict.size], [])
    assert verdict.files > 60


@pytest.mark.parametrize("form", FORMS)
async def test_an_intact_partial_source_has_no_problem(partial: Saved, form: str) -> None:
    assert (await verify(VerifyOptions(partial.at(form)))).problems == ()


@pytest.mark.parametrize("form", OURS)
async def test_without_digests_of_the_parts_it_is_right(everything: Saved, tmp_path: Path, form: str) -> None:
    path = everything.copy(form, tmp_path)
    without_digests(path)
    assert (await verify(VerifyOptions(path))).problems == ()


def regions(archive: Archive) -> dict[str, int]:
    """A byte of every kind that an archive has."""
    assert archive.footer is not None
    entries = list(archive.entries.values())
    blobs = [entry for entry in entries if "/share/" in entry.name and entry.size > 1000]
    (folder, *_) = [entry for entry in entries if "/share/" not in entry.name]
    found = {
        "first header": 24,
        "tar header": entries[3].offset - 40,
        "index of a folder": folder.offset + folder.length // 2,
        "archive index": archive.footer.offset + archive.footer.length // 2,
        "end of the tar": archive.footer.offset + archive.footer.length + 12,
        "footer": archive.volume.size - 30,
        "last byte": archive.volume.size - 1,
    }
    for encoding in {entry.encoding for entry in blobs}:
        entry = next(entry for entry in blobs if entry.encoding == encoding)
        found[f"{encoding} blob"] = entry.offset + entry.length // 2
    return found


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("form", ["gzip", "gzip-12", "zstd", "zstd-12"])
async def test_a_flipped_bit_is_found_in_every_region(
    everything: Saved, tmp_path: Path, form: str, digests: bool
) -> None:
    path = everything.copy(form, tmp_path)
    if not digests:
        without_digests(path)
    archive = await in_thread(open_archive, path)
    places = regions(archive)
    assert len(places) >= 8
    for region, offset in places.items():
        part = archive.volume.part_at(offset).path
        flip(path, offset)
        verdict = await verify(VerifyOptions(path))
        assert verdict.status == 1, region
        if digests or "blob" in region:
            assert str(part) in said(verdict) or "share/" in said(verdict), region
        flip(path, offset)
    assert (await verify(VerifyOptions(path))).status == 0


@pytest.mark.parametrize("form", FORMS)
async def test_a_damaged_blob_is_named_with_its_images(everything: Saved, tmp_path: Path, form: str) -> None:
    path = everything.copy(form, tmp_path)
    if form in HANGARS:
        # A blob that lies: the stream is whole, what is in it is not.
        root = everything.copy("dir", tmp_path)
        image = of((await catalog_of(root)), "multi")
        name = blob_name(image.contents[-1].digest)
        (root / name).write_bytes((root / name).read_bytes()[:-1] + b"x")
        pack_as_hangar(root, path, kind="zstd" if "zstd" in form else "gzip", list_last="last" in form)
    elif form == "dir":
        image = of((await catalog_of(path)), "multi")
        name = blob_name(image.contents[-1].digest)
        (path / name).write_bytes((path / name).read_bytes()[:-1] + b"x")
    else:
        archive = await in_thread(open_archive, path)
        image = of((await catalog_of(path)), "multi")
        name = blob_name(image.contents[-1].digest)
        entry = archive.entries[f"saved-image-cache/{name}"]
        flip(path, entry.offset + entry.length // 2)
    verdict = await verify(VerifyOptions(path))
    assert f"{image.name}: needs the damaged blob {image.contents[-1].digest}" in verdict.problems
    assert image.name in [outcome.name for outcome in verdict.outcomes if not outcome.ok]
    assert name in said(verdict)
    assert [one.name for one in verdict.images] == list(everything.built)
    assert not any(f"{one.name}: needs" in said(verdict) for one in verdict.images if "/oci:1" in one.name)


def truncated_last_part(files: list[Path]) -> Path:
    with files[-1].open("r+b") as file:
        file.truncate(files[-1].stat().st_size - 1)
    return files[-1]


def missing_middle_part(files: list[Path]) -> Path:
    files[1].unlink()
    return files[1]


def missing_first_part(files: list[Path]) -> Path:
    files[0].unlink()
    return files[0]


def missing_last_part(files: list[Path]) -> Path:
    files[-1].unlink()
    return files[-1]


def swapped_parts(files: list[Path]) -> Path:
    first, second = files[0].read_bytes(), files[1].read_bytes()
    files[0].write_bytes(second)
    files[1].write_bytes(first)
    return files[0]


def stale_extra_part(files: list[Path]) -> Path:
    number = len(files)
    extra = files[0].with_name(files[0].name.replace("part0", f"part{number}").replace(f"0{number}", f"{number}"))
    extra.write_bytes(files[-1].read_bytes())
    return extra


def part_of_another_run(files: list[Path]) -> Path:
    files[1].write_bytes(bytes(reversed(files[1].read_bytes())))
    return files[1]


def part_cut_short(files: list[Path]) -> Path:
    files[0].write_bytes(files[0].read_bytes()[:-5])
    return files[0]


@pytest.mark.parametrize("digests", [True, False])
@pytest.mark.parametrize("form", ["gzip-3", "gzip-12", "zstd-3", "zstd-12"])
@pytest.mark.parametrize(
    "change",
    [
        truncated_last_part, missing_middle_part, missing_first_part, missing_last_part, swapped_parts,
        stale_extra_part, part_of_another_run, part_cut_short,
    ],
)  # fmt: skip
async def test_parts_that_are_not_right_are_named(
    everything: Saved, tmp_path: Path, form: str, digests: bool, change: Callable[[list[Path]], Path]
) -> None:
    path = everything.copy(form, tmp_path)
    if not digests:
        without_digests(path)
    wrong = change(parts(path))
    for name in (path, parts(path)[0]):
        verdict = await verify(VerifyOptions(name))
        assert path.name in said(verdict)
        if digests:
            assert str(wrong) in said(verdict)


async def test_a_changed_list_of_digests_is_found(everything: Saved, tmp_path: Path) -> None:
    path = everything.copy("gzip-3", tmp_path)
    listed = path.with_name(f"{path.name}.sha256")
    lines = listed.read_text().splitlines()
    listed.write_text("\n".join([lines[0], "0" * 64 + lines[1][64:], lines[2]]))
    assert "part1 is damaged" in said(await verify(VerifyOptions(path)))
    listed.write_text("\n".join(lines[:2]))
    assert "part2 is not of this archive" in said(await verify(VerifyOptions(path)))
    listed.write_text("\n".join([lines[1], lines[0], lines[2]]))
    assert "lists other files" in said(await verify(VerifyOptions(path)))
    listed.write_text("nothing")
    assert "sha256 is damaged" in said(await verify(VerifyOptions(path)))


@pytest.mark.parametrize("form", HANGARS)
async def test_a_broken_archive_without_index_is_found(everything: Saved, tmp_path: Path, form: str) -> None:
    path = everything.copy(form, tmp_path)
    size = path.stat().st_size
    for change in (bound(flip, path, size // 2), bound(flip, path, size - 3), bound(path.write_bytes, b"\x1f\x8b\x08")):
        whole = path.read_bytes()
        change()
        verdict = await verify(VerifyOptions(path))
        if form == "hangar-zstd" and path.stat().st_size == size and verdict.status == 0:
            # The last bytes of a zstd frame are of its last block: the content tells.
            assert zstandard.decompress(path.read_bytes()) == zstandard.decompress(whole)
        else:
            assert str(path) in said(verdict) or "share/" in said(verdict)
        path.write_bytes(whole[: size // 3])
        assert str(path) in said(await verify(VerifyOptions(path)))
        path.write_bytes(whole)


async def test_an_image_whose_blob_is_missing_is_named(everything: Saved, tmp_path: Path) -> None:
    root = everything.copy("dir", tmp_path)
    image = of((await catalog_of(root)), "zstd")
    gone = image.contents[-1].digest
    (root / blob_name(gone)).unlink()
    verdict = await verify(VerifyOptions(root))
    assert verdict.problems == (f"{image.name}: blob {gone} is missing",)
    pack_as_hangar(root, tmp_path / "x.tar.gz")
    verdict = await verify(VerifyOptions(tmp_path / "x.tar.gz"))
    assert verdict.problems == (f"{image.name}: blob {gone} is missing",)


async def test_an_archive_without_images_is_refused(tmp_path: Path) -> None:
    plain = tmp_path / "plain.tar.gz"
    with tarfile.open(plain, "w:gz") as tar:
        tar.addfile(tarfile.TarInfo("etc/passwd"))
    assert "there are no images in it" in said(await verify(VerifyOptions(plain)))
    (tmp_path / "text").write_text("text")
    assert "neither a tar, plain or compressed, nor a zip" in said(await verify(VerifyOptions(tmp_path / "text")))
    (tmp_path / "empty").touch()
    assert "empty" in said(await verify(VerifyOptions(tmp_path / "empty")))
    with gzip.open(tmp_path / "x.gz", "wb") as file:
        file.write(bytes(10240))
    assert "there are no images in it" in said(await verify(VerifyOptions(tmp_path / "x.gz")))
    assert "there are no images in it" in said(await verify(VerifyOptions(tmp_path)))


async def test_there_must_be_something(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="there is no"):
        await verify(VerifyOptions(tmp_path / "nothing"))
    with pytest.raises(UsageError, match="there is no"):
        await verify(VerifyOptions(tmp_path / "nothing.part3"))
    with pytest.raises(StorageError, match="File name too long"):
        await verify(VerifyOptions(tmp_path / ("x" * 300)))


async def test_an_unreadable_cache_is_a_storage_error(
    everything: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def fail(path: Path, *arguments: int, **keywords: int) -> int:
        if "share" in str(path):
            raise OSError(5, "Input/output error")
        return real(path, *arguments, **keywords)

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(StorageError, match=r"cannot read .*share.*: Input/output error"):
        await verify(VerifyOptions(everything.at("dir")))


@pytest.mark.parametrize("form", ["gzip", "zstd-3", "hangar-gzip", "dir"])
async def test_it_can_be_cancelled_anywhere(everything: Saved, form: str) -> None:
    """After any number of events: it ends, and leaves no thread at work."""
    for number in (1, 2, 20, 50):
        countdown = Countdown(number)
        countdown.watched = asyncio.create_task(verify(VerifyOptions(everything.at(form)), countdown))
        with pytest.raises(asyncio.CancelledError):
            await countdown.watched
        assert not at_work()


def bomb(target: Path, name: str, size: int, claimed: int) -> None:
    """An archive with a file of zeros: `size` in truth, `claimed` in its header."""
    info = tarfile.TarInfo(name)
    info.size = claimed
    with gzip.open(target, "wb", 6) as file:
        file.write(info.tobuf())
        for _ in range(size >> 20):
            file.write(bytes(1 << 20))


@pytest.mark.parametrize("claimed", [10 << 30, 100 << 20])
async def test_a_bomb_takes_no_memory(tmp_path: Path, claimed: int) -> None:
    name = f"saved-image-cache/share/sha256/{'0' * 64}"
    bomb(tmp_path / "bomb.tar.gz", name, 100 << 20, claimed)
    tracemalloc.start()
    try:
        verdict = await verify(VerifyOptions(tmp_path / "bomb.tar.gz"))
        assert tracemalloc.get_traced_memory()[1] < 24 << 20
    finally:
        tracemalloc.stop()
    assert said(verdict)


def members(data: bytes) -> list[tuple[dict[str, Any], bytes]] | None:
    """The content that other programs find in an archive; None if they refuse it."""
    try:
        if data.startswith(b"\x1f\x8b"):
            tar = gzip.decompress(data)
        else:
            tar = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data), read_across_frames=True).read()
    except (OSError, EOFError, zlib.error, zstandard.ZstdError):
        return None
    found = []
    with tarfile.open(fileobj=io.BytesIO(tar), mode="r:") as opened:
        for one in opened:
            file = opened.extractfile(one) if one.isfile() else None
            found.append((dict(one.get_info()), file.read() if file else b""))
    return found


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(where=st.floats(0, 1, exclude_max=True), bit=st.integers(1, 255))
def test_any_changed_byte_is_found_or_means_nothing(
    small_archives: Path, tmp_path: Path, kind: str, where: float, bit: int
) -> None:
    """Without digests of the parts: then what is decoded, and our way to it, are the same."""
    whole = (small_archives / kind).read_bytes()
    offset = int(where * len(whole))
    data = bytearray(whole)
    data[offset] ^= bit
    path = tmp_path / "x"
    path.write_bytes(data)
    verdict = asyncio.run(verify(VerifyOptions(path)))
    if verdict.status == 0:
        assert members(bytes(data)) == members(whole)
        archive = open_archive(path)
        assert archive.index is not None
        assert len(archive.entries) > 5


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["gzip", "zstd"]), where=st.floats(0, 1, exclude_max=True), bit=st.integers(1, 255))
def test_with_digests_any_changed_byte_is_found(
    small_archives: Path, tmp_path: Path, kind: str, where: float, bit: int
) -> None:
    data = bytearray((small_archives / kind).read_bytes())
    (tmp_path / "x.sha256").write_text(f"{hashlib.sha256(data).hexdigest()}  x\n")
    data[int(where * len(data))] ^= bit
    (tmp_path / "x").write_bytes(data)
    assert asyncio.run(verify(VerifyOptions(tmp_path / "x"))).status == 1


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(["gzip", "zstd"]), where=st.floats(0, 1, exclude_max=True))
def test_an_archive_cut_anywhere_is_found(small_archives: Path, tmp_path: Path, kind: str, where: float) -> None:
    data = (small_archives / kind).read_bytes()
    (tmp_path / "x").write_bytes(data[: int(where * len(data))])
    assert asyncio.run(verify(VerifyOptions(tmp_path / "x"))).status == 1
