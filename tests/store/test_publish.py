"""The output directory: the cache is moved or copied, and whole trees are written."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import ArchiveError, DigestMismatch, StorageError, UsageError
from hangar_async.layout.files import LayoutFile
from hangar_async.oci.digest import Digest
from hangar_async.store.content import open_store
from hangar_async.store.publish import NewTree, PublishDirectory
from hangar_async.threads import Interrupted
from tests.fakes.faulty_disk import FaultyDisk
from tests.store.rig import NAMES, fill_cache


def tree(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir() or path.is_symlink()}


def test_the_directory_holds_this_run_and_the_new_cache_the_rest(filled_cache: Path, tmp_path: Path) -> None:
    size = PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert size == sum(len(name) for name in NAMES)
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}
    assert (tmp_path / "out" / "f1" / "blobs").is_dir()
    assert {"share/sha256/stranger", "f0/index.json"} <= tree(filled_cache)
    assert sorted(os.listdir(tmp_path)) == ["out", "saved-image-cache"]


def test_no_new_cache_is_made_for_nothing(filled_cache: Path, tmp_path: Path) -> None:
    (filled_cache / "share/sha256/stranger").unlink()
    (filled_cache / ".partial/x").unlink()
    PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert os.listdir(tmp_path) == ["out"]


def test_an_empty_directory_may_be_there(filled_cache: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}


def test_a_directory_moved_aside_by_a_killed_run_joins_the_new_cache(filled_cache: Path, tmp_path: Path) -> None:
    left = tmp_path / ".saved-image-cache.aside" / "share" / "sha256" / "left"
    left.parent.mkdir(parents=True)
    left.write_text("left")
    PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert {"share/sha256/stranger", "share/sha256/left"} <= tree(filled_cache)


class OtherFileSystem(PublishDirectory):
    """A hand-over whose target lies on another file system."""

    def _rename(self) -> None:
        error = OSError(errno.EXDEV, "Invalid cross-device link")
        raise StorageError.of(error, self.target, "rename to") from error


def test_across_file_systems_it_is_copied_whole(filled_cache: Path, tmp_path: Path) -> None:
    OtherFileSystem(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}
    assert os.readlink(tmp_path / "out" / "blobs") == "share"
    assert (tmp_path / "out" / "f1" / "blobs").is_dir()
    assert all((tmp_path / "out" / name).read_text() == name for name in NAMES)
    assert "share/sha256/one" not in tree(filled_cache)
    assert sorted(os.listdir(tmp_path)) == ["out", "saved-image-cache"]


class Flipping(Disk):
    """A disk that changes a bit on its way."""

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        super().write(descriptor, bytes([data[0] ^ 1]) + bytes(data[1:]), path)


def test_a_copy_that_went_wrong_is_found_and_the_cache_stays(filled_cache: Path, tmp_path: Path) -> None:
    with pytest.raises(DigestMismatch, match="differs from"):
        OtherFileSystem(filled_cache, tmp_path / "out", NAMES, Flipping()).run()
    assert tree(filled_cache) >= NAMES
    assert not (tmp_path / "out").exists()


def failures(kind: type[PublishDirectory], cache: Path, target: Path) -> Iterator[int]:
    """Publish again and again, with another operation of the disk that fails; yields its number after each failure."""
    for number in range(200):
        try:
            kind(cache, target, NAMES, FaultyDisk(number)).run()
        except StorageError:
            yield number
        else:
            return


OTHERS = {"share/sha256/stranger", "f0/index.json", ".partial/x"}


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
def test_files_that_were_moved_out_are_put_back_after_a_failure(
    filled_cache: Path, tmp_path: Path, kind: type[PublishDirectory]
) -> None:
    for number in failures(kind, filled_cache, tmp_path / "out"):
        if (tmp_path / "out").exists():
            break  # the cache is the output
        assert tree(filled_cache) >= NAMES | OTHERS, f"after operation {number}"
        assert os.listdir(tmp_path) == ["saved-image-cache"], f"after operation {number}"
    assert number > 5
    assert tree(filled_cache) >= OTHERS


class Visited(Disk):
    """A disk at whose operation of a number, since the directory has its name, another run opens the cache."""

    def __init__(self, number: int, visit: Callable[[], None], is_placed: Callable[[], bool]) -> None:
        self._left, self._visit, self._is_placed = number, visit, is_placed

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        if name not in ("rename", "remove", "names", "make_directory", "release", "sync") or not self._is_placed():
            return found

        def visited(*arguments: Any, **keywords: Any) -> Any:
            self._left -= 1
            if self._left == -1:
                self._visit()
            return found(*arguments, **keywords)

        return visited

    @property
    def is_over(self) -> bool:
        return self._left >= 0


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
async def test_another_run_may_begin_at_any_moment_of_the_end(tmp_path: Path, kind: type[PublishDirectory]) -> None:
    """It waits for nothing but the lock, and each file of other runs is in the cache in the end."""
    told: list[str] = []
    for number in range(50):
        home = tmp_path / str(number)
        cache, target = fill_cache(home), home / "out"
        opened: list[bool] = []

        def visit(cache: Path = cache, opened: list[bool] = opened) -> None:
            try:
                asyncio.run(_open(cache))
                opened.append(True)
            except UsageError:
                opened.append(False)

        disk = Visited(number, visit, target.exists)
        async with open_store(cache, disk) as store:
            work = kind(cache, target, NAMES, disk, unlock=store.unlock, notice=told.append)
            await asyncio.to_thread(work.run)
        if disk.is_over:
            break
        await _open(cache)
        assert tree(cache) >= {"share/sha256/stranger", "f0/index.json"}, number
        assert sorted(os.listdir(home)) == ["out", "saved-image-cache"], number
        assert tree(target) >= NAMES
        assert opened, number
    assert number >= 3
    assert told == []


async def _open(cache: Path) -> None:
    async with open_store(cache):
        pass


def test_files_of_a_person_in_a_cache_are_kept_too(filled_cache: Path, tmp_path: Path) -> None:
    (filled_cache / "notes.txt").write_text("mine")
    PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk()).run()
    assert "notes.txt" in tree(filled_cache)


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
async def test_a_second_run_is_refused_until_the_directory_has_its_name(
    filled_cache: Path, tmp_path: Path, kind: type[PublishDirectory]
) -> None:
    """The lock is in its place as long as the files of this run are."""
    refused: list[str] = []

    class Rival(Disk):
        def sync(self, path: Path) -> None:
            super().sync(path)
            if not (tmp_path / "out").exists():
                lock = Disk().lock(filled_cache / ".lock")
                refused.append(path.name)
                assert lock is None

    async with open_store(filled_cache, Rival()) as store:
        work = kind(filled_cache, tmp_path / "out", NAMES, store.disk, unlock=store.unlock)
        await asyncio.to_thread(work.run)
        assert {"index.json", "one"} <= set(refused)
        assert ".lock" not in tree(tmp_path / "out")
        # The new cache is for the next run.
        async with open_store(filled_cache):
            assert tree(filled_cache) >= {"share/sha256/stranger", "f0/index.json"}


def open_files() -> list[Path]:
    links = [Path(f"/proc/self/fd/{name}") for name in os.listdir("/proc/self/fd")]
    return [Path(os.readlink(link)) for link in links if os.path.lexists(link)]


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
async def test_no_open_file_is_removed(filled_cache: Path, tmp_path: Path, kind: type[PublishDirectory]) -> None:
    """FUSE and NFS would keep it under a hidden name, so that its directory cannot be removed."""

    class Watching(Disk):
        def remove(self, path: Path) -> None:
            is_open = any(path in file.parents or path == file for file in open_files())
            assert path.suffix == ".tmp" or not is_open, path
            super().remove(path)

    async with open_store(filled_cache, Watching()) as store:
        work = kind(filled_cache, tmp_path / "out", NAMES, store.disk, unlock=store.unlock)
        await asyncio.to_thread(work.run)
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}


class Untidy(Disk):
    """A disk that removes nothing."""

    def remove(self, path: Path) -> None:
        if os.path.lexists(path):
            raise StorageError.of(OSError(errno.ENOTEMPTY, "Directory not empty"), path, "remove")


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
def test_a_directory_that_is_in_place_is_a_success_whatever_is_left(
    filled_cache: Path, tmp_path: Path, kind: type[PublishDirectory]
) -> None:
    notices: list[str] = []
    kind(filled_cache, tmp_path / "out", NAMES, Untidy(), notice=notices.append).run()
    assert tree(tmp_path / "out") >= NAMES
    (notice,) = notices
    assert "is whole" in notice
    assert "Directory not empty" in notice


BLOBS = {f"share/sha256/{Digest.of(data).hex}": data for data in (b"one" * 700_000, b"two")}


@pytest.mark.parametrize("damaged", [*BLOBS, "index.json"])
def test_a_copy_is_compared_as_the_disk_has_it(
    damaged: str, filled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its sync the memory that holds it is dropped; other bytes come from the disk then."""
    for name, data in BLOBS.items():
        (filled_cache / name).write_bytes(data)
    operations: list[str] = []

    class Watching(Disk):
        def sync(self, path: Path) -> None:
            super().sync(path)
            operations.append(f"sync {path.name}")

    def drop(descriptor: int, offset: int, length: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_DONTNEED
        name = Path(os.readlink(f"/proc/self/fd/{descriptor}"))
        assert f"sync {name.name}" in operations
        if str(name).endswith(damaged):
            name.write_bytes(b"x" * name.stat().st_size)

    monkeypatch.setattr(os, "posix_fadvise", drop)
    with pytest.raises(DigestMismatch, match="differs from"):
        OtherFileSystem(filled_cache, tmp_path / "out", NAMES | BLOBS.keys(), Watching()).run()
    assert all((filled_cache / name).read_bytes() == data for name, data in BLOBS.items())
    assert not list(tmp_path.glob("*out*"))


def test_an_original_is_read_once_where_its_name_is_its_digest(
    filled_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, data in BLOBS.items():
        (filled_cache / name).write_bytes(data)
    opened: list[Path] = []
    open_path = Path.open

    def watched(path: Path, *arguments: Any, **keywords: Any) -> Any:
        opened.append(path)
        return open_path(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "open", watched)
    OtherFileSystem(filled_cache, tmp_path / "out", NAMES | BLOBS.keys(), Disk()).run()
    assert [opened.count(filled_cache / name) for name in BLOBS] == [1, 1]
    assert all((tmp_path / "out" / name).read_bytes() == data for name, data in BLOBS.items())


def test_between_two_file_systems(filled_cache: Path, small_disk: Callable[[int], Path], tmp_path: Path) -> None:
    target = small_disk(8 << 20) / "out"
    for name, data in BLOBS.items():
        (filled_cache / name).write_bytes(data)
    PublishDirectory(filled_cache, target, NAMES | BLOBS.keys(), Disk()).run()
    assert tree(target) == {*NAMES, *BLOBS, "blobs"}
    assert all((target / name).read_bytes() == data for name, data in BLOBS.items())
    assert os.listdir(target.parent) == ["out"]
    assert NAMES.isdisjoint(tree(filled_cache))


@pytest.mark.parametrize("kind", [PublishDirectory, OtherFileSystem])
def test_a_full_disk_at_any_operation_loses_nothing(
    filled_cache: Path, tmp_path: Path, kind: type[PublishDirectory]
) -> None:
    for number in failures(kind, filled_cache, tmp_path / "out"):
        places = [tmp_path / "out", filled_cache]
        held = [place for place in places if place.exists() and tree(place) >= NAMES]
        assert held, f"lost after operation {number}"
        if held == [tmp_path / "out"]:
            break  # only the last step, the new cache, was still to come
    assert number > 5
    assert tree(tmp_path / "out") == {*NAMES, "blobs"}


def test_it_can_be_interrupted(filled_cache: Path, tmp_path: Path) -> None:
    def stop() -> None:
        raise Interrupted

    with pytest.raises(Interrupted):
        PublishDirectory(filled_cache, tmp_path / "out", NAMES, Disk(), check_interrupted=stop).run()
    assert tree(filled_cache) >= NAMES
    assert not (tmp_path / "out").exists()


CONTENTS = {"share/sha256/one": b"one" * 1000, "f1/index.json": b"{}", "empty": b""}


def held(data: bytes, *, size: int | None = None, digest: Digest | None = None) -> LayoutFile:
    pieces = [data[start : start + 700] for start in range(0, len(data), 700)]
    return LayoutFile("name", len(data) if size is None else size, digest, iter(pieces))


def files() -> Iterator[tuple[str, LayoutFile]]:
    for name, data in CONTENTS.items():
        yield name, held(data, digest=Digest.of(data))


def write(target: Path, disk: Disk | None = None, *, sync: bool = True) -> int:
    tree = NewTree(target, disk or Disk(), lambda _: None, sync)
    return tree.write(files(), {"index.json": b"[]", "a/b": b"1"}, ["f1/blobs"], {"blobs": "share"})


def check(target: Path) -> None:
    expected = {**CONTENTS, "index.json": b"[]", "a/b": b"1"}
    found = {str(path.relative_to(target)) for path in target.rglob("*") if path.is_file()}
    assert found == expected.keys()
    assert all((target / name).read_bytes() == data for name, data in expected.items())
    assert (target / "f1" / "blobs").is_dir()
    assert os.readlink(target / "blobs") == "share"


@pytest.mark.parametrize("sync", [True, False])
def test_a_tree_is_made(tmp_path: Path, sync: bool) -> None:
    assert write(tmp_path / "x", sync=sync) == 3000 + 2 + 2 + 1
    check(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]


def test_a_tree_may_be_written_into_an_empty_directory(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    write(tmp_path / "x")
    check(tmp_path / "x")


def test_a_directory_that_filled_meanwhile_stays(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "mine").touch()
    with pytest.raises(StorageError, match="rename to"):
        write(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["mine"]


def test_files_left_by_this_process_are_removed(tmp_path: Path) -> None:
    left = tmp_path / f".x.{os.getpid()}.tmp"
    left.mkdir()
    (left / "old").touch()
    write(tmp_path / "x")
    check(tmp_path / "x")


def test_directories_are_asked_for_when_the_files_are_written(tmp_path: Path) -> None:
    seen: list[str] = []

    def watched() -> Iterator[tuple[str, LayoutFile]]:
        for name, file in files():
            seen.append(name)
            yield name, file

    NewTree(tmp_path / "x", Disk(), lambda _: None).write(watched(), {}, (f"{len(seen)}" for _ in range(1)))
    assert (tmp_path / "x" / "3").is_dir()


@pytest.mark.parametrize(
    ("file", "match"),
    [
        (held(b"data", digest=Digest.of(b"other")), "name is damaged"),
        (held(b"data", digest=Digest("sha512", "0" * 128)), "name is damaged"),
        (held(b"data" * 1000, size=3999), "larger than the 3999 bytes declared"),
        (held(b"data", size=5), "has 4 bytes instead of 5"),
        (held(b"", size=5), "has 0 bytes instead of 5"),
    ],
)
def test_a_file_unlike_its_declaration_leaves_nothing(tmp_path: Path, file: LayoutFile, match: str) -> None:
    with pytest.raises(DigestMismatch, match=match):
        NewTree(tmp_path / "x", Disk(), lambda _: None).write([*files(), ("bad", file)], {})
    assert os.listdir(tmp_path) == []


def test_no_more_is_written_than_was_declared(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)

    written = 0

    class Counting(Disk):
        def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
            nonlocal written
            written += len(data)

    file = LayoutFile("name", 1 << 20, None, endless())
    with pytest.raises(DigestMismatch, match="larger than the 1048576 bytes"):
        NewTree(tmp_path / "x", Counting(), lambda _: None).write([("bad", file)], {})
    assert written <= 1 << 20
    assert os.listdir(tmp_path) == []


def test_one_name_twice_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot create"):
        NewTree(tmp_path / "x", Disk(), lambda _: None).write([*files(), *files()], {})
    assert os.listdir(tmp_path) == []


def test_a_failed_read_leaves_nothing(tmp_path: Path) -> None:
    def failing() -> Iterator[tuple[str, LayoutFile]]:
        yield from files()
        raise ArchiveError("broken", path="x")

    with pytest.raises(ArchiveError):
        NewTree(tmp_path / "x", Disk(), lambda _: None).write(failing(), {})
    assert os.listdir(tmp_path) == []


def test_it_can_be_interrupted_at_any_piece(tmp_path: Path) -> None:
    pieces = sum(-(-len(data) // 700) for data in CONTENTS.values())
    for number in range(pieces):
        told: list[int] = []

        def goes_on(count: int, told: list[int] = told, number: int = number) -> None:
            if len(told) == number:
                raise Interrupted
            told.append(count)

        with pytest.raises(Interrupted):
            NewTree(tmp_path / "x", Disk(), goes_on).write(files(), {})
        assert os.listdir(tmp_path) == []


def test_a_full_disk_at_any_operation_leaves_nothing(tmp_path: Path) -> None:
    disk = FaultyDisk()
    for number in range(200):
        disk.start(fail_at=number)
        try:
            write(tmp_path / "x", disk)
        except StorageError:
            assert os.listdir(tmp_path) == [], f"left by operation {number}"
            continue
        break
    assert number > 20
    check(tmp_path / "x")


class Linkless(Disk):
    """A file system without symbolic links."""

    def link(self, path: Path, target: str) -> bool:
        return False


def test_a_file_system_without_links_gets_none(tmp_path: Path) -> None:
    write(tmp_path / "x", Linkless())
    assert not (tmp_path / "x" / "blobs").exists()


def test_a_real_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StorageError, match="No space left"):
        write(tmp_path / "x")
    assert os.listdir(tmp_path) == []
