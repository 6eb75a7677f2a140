"""Images without space are refused before they are fetched; a full disk ends the run and loses nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hangar_async.config.output import OutputSettings
from hangar_async.engine.pull import space as module
from hangar_async.engine.pull.space import PartCheck, SpaceCheck
from hangar_async.errors import StorageError, TooManyParts, UsageError
from hangar_async.filesystem import fitting_part
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.testing.images import image, layer
from tests.engine.rig import run
from tests.fakes.images import AMD64
from tests.fakes.registry import FakeRegistry

MIB = 1 << 20
NOISE = [bytes(range(256)) * 4 * 1024 * number for number in (1, 2, 3)]


def blobs(*sizes: int) -> list[Descriptor]:
    return [Descriptor("x", Digest.of(f"{number} {size}".encode()), size) for number, size in enumerate(sizes)]


def space(cache: Path, target: Path | None = None, **keywords: Any) -> SpaceCheck:
    output = None if target is None else OutputSettings(target=target, **keywords)
    return SpaceCheck(cache, output, lambda: 0, lambda: 0)


async def test_a_blob_planned_twice_counts_once(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(16 * MIB)
    one = space(disk)
    for _ in range(5):
        await one.plan(blobs(5 * MIB, 6 * MIB), lambda blob: blob.size)
    with pytest.raises(
        StorageError,
        match=r"at least 17 MiB are needed, and 1[56] MiB are free \(13 MiB for blobs; 4 MiB are kept back",
    ) as caught:
        await one.plan(blobs(5 * MIB, 6 * MIB, MIB + 1), lambda blob: blob.size)
    assert "what was fetched is kept" in caught.value.advice


async def test_blobs_in_the_cache_need_no_room_there(small_disk: Callable[[int], Path]) -> None:
    await space(small_disk(8 * MIB)).plan(blobs(100 * MIB), lambda blob: 0)


async def test_cache_and_archive_on_one_disk_need_both(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(20 * MIB)
    with pytest.raises(StorageError, match=r"10 MiB for blobs and 11 MiB for the output; 4 MiB"):
        await space(disk / "cache", disk / "a.tar.gz").plan(blobs(10 * MIB), lambda blob: blob.size)
    await space(disk / "cache", disk / "a.tar.gz").plan(blobs(10 * MIB), lambda blob: 0)
    await space(disk / "cache", disk / "out", format="dir").plan(blobs(10 * MIB), lambda blob: blob.size)


async def test_cache_and_archive_on_two_disks(small_disk: Callable[[int], Path]) -> None:
    large, little = small_disk(40 * MIB), small_disk(12 * MIB)
    with pytest.raises(StorageError, match=str(little)):
        await space(large, little / "a.tar.gz").plan(blobs(10 * MIB), lambda blob: blob.size)
    with pytest.raises(StorageError, match=str(little)):
        await space(little, large / "a.tar.gz").plan(blobs(10 * MIB), lambda blob: blob.size)
    await space(large, little / "a.tar.gz").plan(blobs(7 * MIB), lambda blob: blob.size)


async def test_a_directory_on_another_disk_is_a_copy(small_disk: Callable[[int], Path]) -> None:
    large, little = small_disk(40 * MIB), small_disk(12 * MIB)
    with pytest.raises(StorageError, match=str(little)):
        await space(large, little / "out", format="dir").plan(blobs(10 * MIB), lambda blob: 0)
    with pytest.raises(StorageError, match=str(little)):
        await space(little, large / "out", format="dir").plan(blobs(10 * MIB), lambda blob: blob.size)
    await space(large, little / "out", format="dir").plan(blobs(7 * MIB), lambda blob: blob.size)


async def test_a_blob_that_is_too_long_for_a_file_of_the_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "largest_file", lambda path: MIB)
    one = space(tmp_path, tmp_path / "out", format="dir")
    await one.plan(blobs(MIB, MIB), lambda blob: 0)
    with pytest.raises(StorageError, match=r"a blob has 1,048,577 bytes") as caught:
        await one.plan(blobs(MIB + 1), lambda blob: 0)
    assert "--part" in caught.value.advice


async def test_a_directory_that_does_not_fit_is_told_before_it_is_fetched(
    fake_registry: FakeRegistry, small_disk: Callable[[int], Path], tmp_path: Path
) -> None:
    fake_registry.add("app:1", image([layer({"noise": NOISE[2]}, "none")], AMD64))
    place = small_disk(6 * MIB)
    with pytest.raises(StorageError, match=str(place)):
        await run(tmp_path, f"{fake_registry.address}/app:1", destination=place / "out")
    assert len(fake_registry.asked("/blobs/", "GET")) <= 1  # the config tells the platform


async def test_written_bytes_are_not_needed_again(small_disk: Callable[[int], Path]) -> None:
    disk = small_disk(17 * MIB)
    fetched = 0
    one = SpaceCheck(disk, None, lambda: fetched, lambda: 0)
    await one.plan(blobs(10 * MIB), lambda blob: blob.size)
    (disk / "written").write_bytes(bytes(9 * MIB))
    fetched = 9 * MIB
    await one.plan(blobs(10 * MIB, MIB), lambda blob: blob.size)
    (disk / "of others").write_bytes(bytes(3 * MIB))
    with pytest.raises(StorageError):
        await one.plan(blobs(10 * MIB, MIB, MIB + 1), lambda blob: blob.size)


async def test_an_archive_that_is_too_long_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "largest_file", lambda _: (4 << 30) - 1)
    monkeypatch.setattr(module, "free_bytes", lambda _: 1 << 50)
    whole = space(tmp_path, tmp_path / "a.tar.gz")
    await whole.plan(blobs(2 << 30), lambda blob: blob.size)
    with pytest.raises(StorageError, match=r"larger than a file at .* may be, 4,294,967,295 bytes") as caught:
        await whole.plan(blobs(2 << 30, 2 << 30), lambda blob: blob.size)
    assert caught.value.advice == "split it: --part --part-size 4095M"
    await space(tmp_path, tmp_path / "a.tar.gz", part_size=1 << 30).plan(blobs(5 << 30), lambda blob: blob.size)


@pytest.mark.parametrize(("largest", "part"), [((4 << 30) - 1, "4095M"), (2 * MIB, "2M"), (1000, "1000")])
def test_the_part_that_fits(largest: int, part: str) -> None:
    assert fitting_part(largest) == part


async def test_parts_that_are_too_long_are_refused_before_any_request(
    fake_registry: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hangar_async.engine.outputs.largest_file", lambda _: (4 << 30) - 1)
    with pytest.raises(UsageError, match="write --part-size 4095M"):
        await run(tmp_path, f"{fake_registry.address}/a:1", format="gzip", part_size=4 << 30)
    assert fake_registry.requests == []


async def test_a_run_that_has_no_room_fetches_no_blob_too_many(
    fake_registry: FakeRegistry, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(24 * MIB)
    for number in range(3):
        fake_registry.add(f"app{number}:1", image([layer({f"{number}": NOISE[number] * 3}, "none")], AMD64))
    lines = [f"{fake_registry.address}/app{number}:1" for number in range(3)]
    (disk / "out.tar.gz").write_bytes(b"earlier")
    options: dict[str, Any] = {"format": "gzip", "destination": disk / "out.tar.gz", "cache": disk / "cache", "jobs": 1}
    with pytest.raises(StorageError, match="not enough room"):
        await run(tmp_path, *lines, **options)
    assert (disk / "out.tar.gz").read_bytes() == b"earlier"
    assert sorted(path.name for path in disk.iterdir()) == ["cache", "out.tar.gz"]
    fetched = fake_registry.blobs_asked().total()
    report = await run(tmp_path, lines[0], **options)  # the same with less
    assert report.status == 0
    # What was on its way when the first run ended is gone on with.
    assert fake_registry.blobs_asked().total() <= fetched + 1


async def test_a_disk_that_gets_full_ends_the_run_and_the_same_goes_on_after_room_was_made(
    fake_registry: FakeRegistry, tmp_path: Path, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else fills the disk while the run goes on: no reckoning ahead can know that."""
    disk = small_disk(16 * MIB)
    monkeypatch.setattr(module, "free_bytes", lambda _: 1 << 50)
    for number in range(2):
        fake_registry.add(f"app{number}:1", image([layer({f"{number}": NOISE[number] * 3}, "none")], AMD64))
    lines = [f"{fake_registry.address}/app{number}:1" for number in range(2)]
    (disk / "other").write_bytes(bytes(8 * MIB))
    options: dict[str, Any] = {
        "format": "gzip",
        "destination": tmp_path / "out.tar.gz",
        "cache": disk / "cache",
        "jobs": 2,
    }
    with pytest.raises(StorageError, match="No space left on device"):
        await run(tmp_path, *lines, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk0"]
    (disk / "other").unlink()
    monkeypatch.undo()
    before = fake_registry.blobs_asked().total()
    report = await run(tmp_path, *lines, **options)
    assert report.status == 0
    assert report.traffic.reused_blobs > 0
    assert fake_registry.blobs_asked().total() - before <= 4


def test_many_parts_are_told_once_and_too_many_refused() -> None:
    told: list[str] = []
    parts = PartCheck(OutputSettings(target=Path("a.tar.gz"), part_size=1000), told.append)
    parts.check(1_000_000)
    assert told == []
    parts.plan(blobs(1_000_000, 1_000_000))
    parts.check(100_000_000)
    assert told == ["the archive will have 2,005 parts or more; --part-size 1M makes fewer"]
    with pytest.raises(TooManyParts, match=r"100,001 of them, and 100,000 are the most; --part-size 1M makes fewer"):
        parts.check(100_000_001)
    with pytest.raises(TooManyParts, match=r"--part-size 96M makes fewer"):
        parts.check(10_000_000_000)


def test_an_archive_in_one_file_has_no_bound_of_parts() -> None:
    PartCheck(OutputSettings(target=Path("a.tar.gz")), pytest.fail).check(1 << 60)
    PartCheck(None, pytest.fail).check(1 << 60)


async def test_a_run_of_too_many_parts_ends_before_its_blobs(fake_registry: FakeRegistry, tmp_path: Path) -> None:
    one = image([layer({"a": os.urandom(200_000)})], AMD64)
    fake_registry.add("app:1", one)
    with pytest.raises(TooManyParts):
        await run(tmp_path, f"{fake_registry.address}/app:1", part_size=1, format="gzip")
    assert not [blob for blob in one.blobs if len(one.blobs[blob]) > 100_000 and fake_registry.asked(str(blob))]
