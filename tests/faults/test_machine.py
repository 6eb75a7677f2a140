"""Faults of this machine: the disk, the process."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from hangar_async.config.options import SaveOptions
from hangar_async.engine.save import save
from hangar_async.errors import StorageError, UsageError
from tests.engine.rig import options
from tests.fakes.faulty_disk import FaultyDisk
from tests.fakes.registry import FakeRegistry
from tests.faults.rig import check_cache

OLD = b"the archive of an earlier run"


def wish(one_image: FakeRegistry, place: Path) -> SaveOptions:
    return options(
        place, f"{one_image.address}/a:1", format="gzip", destination=place / "out.tar.gz", part_size=400_000
    )


def archive(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.glob("out.tar.gz*"))}


def break_disk(monkeypatch: pytest.MonkeyPatch) -> FaultyDisk:
    """Let everything that a save writes go to a disk that can be made to fail."""
    disk = FaultyDisk()
    for place in ("engine.save", "engine.outputs"):
        monkeypatch.setattr(f"hangar_async.{place}.Disk", lambda: disk)
    return disk


#: The errors of the disk; each operation meets one of them, and by hand all.
CODES = (errno.ENOSPC, errno.EIO)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", [0, 1] if "CRASHES" in os.environ else [0])
async def test_a_disk_that_fails_at_any_operation(
    one_image: FakeRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: int
) -> None:
    """At every operation of a save in turn: told, the old archive is whole, and the same command then does it."""
    calm = tmp_path / "calm"
    calm.mkdir()
    await save(wish(one_image, calm))
    expected = archive(calm)
    assert len(expected) > 3
    disk = break_disk(monkeypatch)
    failed = set()
    for number in range(1000):
        disk.code = code = CODES[(number + first) % 2]
        place = tmp_path / str(number)
        place.mkdir()
        (place / "out.tar.gz.part0").write_bytes(OLD)
        disk.start(fail_at=number)
        try:
            await save(wish(one_image, place))
        except StorageError as error:
            told = str(error)
            assert archive(place) == {"out.tar.gz.part0": OLD}, f"after {disk.failed}, operation {number}"
        else:
            told = ""
            # Nothing was left to fail, or it failed where nothing of the product depends on it.
            assert archive(place) == expected
            if not disk.failed:
                break
        assert not told or os.strerror(code) in told
        failed.add(disk.failed)
        check_cache(place / "saved-image-cache")
        assert not [name for name in os.listdir(place) if name.endswith(".tmp")]
        disk.start()
        await save(wish(one_image, place))
        assert archive(place) == expected
    assert failed >= {"create", "write", "sync_file", "close", "rename", "sync", "keep", "make_directory", "lock"}


async def test_a_cache_that_cannot_be_written_is_told_and_nothing_is_fetched(
    one_image: FakeRegistry, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(8 << 20)
    (disk / "cache").mkdir()
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(UsageError, match=r"cache cannot be written"):
        await save(options(tmp_path, f"{one_image.address}/a:1", format="gzip", cache=disk / "cache"))
    assert one_image.blobs_asked() == {}


async def test_a_destination_that_cannot_be_written_is_told_before_any_request(
    one_image: FakeRegistry, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(8 << 20)
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    wanted = options(tmp_path, f"{one_image.address}/a:1", format="gzip", destination=disk / "out.tar.gz")
    with pytest.raises((StorageError, UsageError), match=r"Read-only file system|cannot be written"):
        await save(wanted)
    assert one_image.requests == []
