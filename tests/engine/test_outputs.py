"""The outputs of a run: their checks, and temporary directories."""

import asyncio
import threading
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.engine.outputs import temporary_directory
from hangar_async.errors import StorageError


async def test_a_temporary_directory_is_removed_when_its_making_is_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, go_on = threading.Event(), threading.Event()
    make = Disk.make_temporary

    def slow(disk: Disk, parent: Path, prefix: str) -> Path:
        directory = make(disk, parent, prefix)
        made.set()
        go_on.wait(20)
        return directory

    monkeypatch.setattr(Disk, "make_temporary", slow)

    async def use() -> None:
        async with temporary_directory(tmp_path, ".x."):
            pytest.fail("the block must not run")

    task = asyncio.create_task(use())
    await asyncio.to_thread(made.wait, 20)
    task.cancel()
    await asyncio.sleep(0)
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert list(tmp_path.iterdir()) == []


async def test_temporary_directories_at_the_same_time_have_different_names(tmp_path: Path) -> None:
    async with temporary_directory(tmp_path, ".x.") as one, temporary_directory(tmp_path, ".x.") as other:
        (one / "file").write_text("kept until the end of the block")
        assert one != other
        assert {path.stat().st_mode & 0o777 for path in (one, other)} == {0o700}
    assert list(tmp_path.iterdir()) == []


async def test_a_temporary_directory_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"cannot make a directory in .*/gone: No such file"):
        async with temporary_directory(tmp_path / "gone", ".x."):
            pytest.fail("the block must not run")
