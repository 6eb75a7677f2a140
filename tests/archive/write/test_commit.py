import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.errors import StorageError
from tests.archive.samples import MIB, fill, joined, noise, temporary, visible, write
from tests.fakes.faulty_disk import FaultyDisk


def test_other_files_of_an_earlier_archive_are_removed(tmp_path: Path) -> None:
    target = tmp_path / "a.tar"
    others = ["a.tar.partial", "a.tar.part", "a.tarx", "ba.tar", "a.tar.part1.bak", "b.tar.part0"]
    for name in others:
        (tmp_path / name).write_text("not ours")
    (tmp_path / "a.tar.part77").mkdir()
    for part_size in (20_000, 7_000, 90_000, None, 40_000):
        written = write(target, "gzip", [noise(150_000)], part_size=part_size)
        ours = [path.name for path in written.files] + ["a.tar.sha256"]
        assert visible(tmp_path) == sorted([*ours, *others, "a.tar.part77"])
        assert temporary(tmp_path) == []


def test_an_archive_whose_name_looks_like_a_part_stays(tmp_path: Path) -> None:
    write(tmp_path / "a.part1", "gzip", [b"another"])
    write(tmp_path / "a", "gzip", [noise(100_000)], part_size=90_000)
    write(tmp_path / "a", "gzip", [b"one file"])
    assert visible(tmp_path) == ["a", "a.part1", "a.part1.sha256", "a.sha256"]


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a" / "inside").mkdir(parents=True)
    with pytest.raises(StorageError, match="it is a directory"):
        write(tmp_path / "a", "gzip")
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(StorageError, match="cannot read"):
        write(tmp_path / "nowhere" / "a", "gzip", [])


def test_a_link_is_replaced_and_its_target_stays(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "a").symlink_to("old")
    write(tmp_path / "a", "gzip", [])
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "old").read_text() == "old"


def state(directory: Path) -> dict[str, bytes]:
    return {name: (directory / name).read_bytes() for name in visible(directory)}


@pytest.mark.parametrize("before", [None, 60_000, 20_000])
@pytest.mark.parametrize("after", [None, 60_000, 25_000])
@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_a_full_disk_at_any_operation_leaves_the_old_archive(
    tmp_path: Path, kind: str, before: int | None, after: int | None
) -> None:
    new = [noise(100_000, seed=2), b"new"]
    whole = tmp_path / "whole"
    whole.mkdir()
    write(whole / "a.tar", kind, new, part_size=after)
    old_directory = tmp_path / "old"
    old_directory.mkdir()
    write(old_directory / "a.tar", kind, [noise(150_000, seed=1)], part_size=before)
    old = state(old_directory)
    failed = set()
    for number in range(1000):
        disk = FaultyDisk(number)
        try:
            write(old_directory / "a.tar", kind, new, part_size=after, disk=disk)
        except StorageError:
            failed.add(disk.failed)
        else:
            # At the end of a commit that removed old parts a failure leaves the record to the next one.
            assert disk.failed in ("", "sync")
            break
        assert state(old_directory) == old
        assert temporary(old_directory) == []
    assert failed >= {"create", "write", "sync_file", "close", "rename", "keep", "sync", "names", "hold"}
    assert state(old_directory) == state(whole)
    write(old_directory / "a.tar", kind, new, part_size=after)
    assert (state(old_directory), temporary(old_directory)) == (state(whole), [])


def test_without_hard_links_a_failure_still_puts_the_old_archive_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "a", "gzip", [noise(100_000, seed=1)], part_size=30_000)
    old = state(tmp_path)
    failed = set()
    for number in range(1000):
        disk = FaultyDisk(number)
        try:
            write(tmp_path / "a", "gzip", [b"new"], part_size=30_000, disk=disk)
        except StorageError:
            failed.add(disk.failed)
        else:
            break
        assert state(tmp_path) == old
        assert temporary(tmp_path) == []
    assert failed >= {"rename", "keep", "sync"}
    assert visible(tmp_path) == ["a.part0", "a.sha256"]


@pytest.mark.parametrize("hard_links", [True, False])
def test_without_a_list_of_digests_the_old_one_goes_or_comes_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hard_links: bool
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not hard_links:
        monkeypatch.setattr(os, "link", refuse)
    write(tmp_path / "a", "gzip", [noise(100_000, seed=1)], part_size=30_000)
    old = state(tmp_path)
    assert "a.sha256" in old
    failed = set()
    for number in range(1000):
        disk = FaultyDisk(number)
        try:
            write(tmp_path / "a", "gzip", [noise(50_000)], part_size=30_000, checksum="none", disk=disk)
        except StorageError:
            failed.add(disk.failed)
        else:
            break
        assert state(tmp_path) == old
        assert temporary(tmp_path) == []
    assert failed >= {"rename", "keep", "sync"}
    assert visible(tmp_path) == ["a.part0", "a.part1"]
    write(tmp_path / "a", "gzip", [noise(50_000)], part_size=30_000, checksum="none")
    assert (visible(tmp_path), temporary(tmp_path)) == (["a.part0", "a.part1"], [])


def test_a_list_of_digests_that_is_a_directory_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a.sha256").mkdir()
    for checksum in ("sha256", "none"):
        with pytest.raises(StorageError, match=r"a\.sha256: it is a directory"):
            write(tmp_path / "a", "gzip", checksum=checksum)
    assert os.listdir(tmp_path) == ["a.sha256"]


class Order(FaultyDisk):
    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[str, str]] = []

    def _watch(self, name: str, operation: Callable[..., object]) -> Callable[..., object]:
        def watched(*arguments: object, **keywords: object) -> object:
            result = operation(*arguments, **keywords)
            path = next(item for item in reversed(arguments) if isinstance(item, Path))
            with self._guard:
                self.done.append((name, path.name))
            return result

        return watched


def test_all_files_are_synced_before_the_first_has_its_name_and_the_names_before_success(tmp_path: Path) -> None:
    order = Order()
    write(tmp_path / "a", "gzip", [noise(100_000)], part_size=30_000, disk=order)
    names = [name for name, _ in order.done]
    renamed = names.index("rename")
    created = {path for name, path in order.done if name == "create"}
    synced = {path for name, path in order.done[:renamed] if name == "sync_file"}
    closed = {path for name, path in order.done[:renamed] if name == "close"}
    assert synced == closed == created - {path for path in created if path.endswith(".0.tmp")}
    record, *renamed_to = [path for name, path in order.done if name == "rename"]
    assert record.endswith(".commit")
    assert renamed_to == ["a.part0", "a.part1", "a.part2", "a.part3", "a.sha256"]
    assert [name for name, _ in order.done[renamed - 1 : renamed + 2]] == ["sync", "rename", "sync"]
    assert ("sync", tmp_path.name) in order.done[names.index("keep") :]


def test_without_sync_nothing_is_synced(tmp_path: Path) -> None:
    order = Order()
    write(tmp_path / "a", "gzip", [noise(100_000)], sync=False, disk=order)
    assert not {"sync", "sync_file"} & {name for name, _ in order.done}


def test_files_of_a_dead_run_are_removed_and_those_of_a_living_one_stay(tmp_path: Path) -> None:
    for name in (".a.12-ab.0.tmp", ".a.12-ab.3.tmp", ".a.99-cd.1.tmp"):
        (tmp_path / name).write_text("left over")
    others = [".a.12-ab.tmp", ".b.12-ab.0.tmp", ".a.x.0.tmp"]
    for name in others:
        (tmp_path / name).write_text("not ours")
    with ArchiveWriter(tmp_path / "a", "gzip", part_size=MIB) as living:
        fill(living, [noise(3 * MIB)], tmp_path)
        files = temporary(tmp_path)
        assert len(files) > len(others) + 2
        assert not [name for name in files if name.startswith((".a.12-ab.0", ".a.12-ab.3", ".a.99-cd."))]
        second = write(tmp_path / "a", "gzip", [b"second"])
        assert temporary(tmp_path) == files
        assert len(joined(second)) == second.size
        living.commit()
    assert visible(tmp_path) == ["a.part0", "a.part1", "a.part2", "a.part3", "a.sha256"]
    assert temporary(tmp_path) == sorted(others)


KILLED = """
import sys, time
from pathlib import Path
from hangar_async.archive.write.writer import ArchiveWriter
from tests.archive.samples import fill, noise
writer = ArchiveWriter(Path(sys.argv[1]), "gzip", part_size=100_000)
fill(writer, [noise(3_000_000)], Path(sys.argv[1]).parent)
print("written", flush=True)
time.sleep(600)
"""


def test_a_killed_run_leaves_the_old_archive_and_the_next_one_cleans_up(tmp_path: Path) -> None:
    write(tmp_path / "a", "gzip", [b"old"])
    old = state(tmp_path)
    with subprocess.Popen([sys.executable, "-c", KILLED, tmp_path / "a"], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "written\n"
        run.send_signal(signal.SIGKILL)
    assert state(tmp_path) == old
    assert len(temporary(tmp_path)) > 5
    write(tmp_path / "a", "gzip", [b"new"])
    assert temporary(tmp_path) == []
    assert state(tmp_path) != old


def test_on_a_file_system_without_locks_an_archive_is_written_and_leftovers_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without locks the files of a run that is at work look like those of a dead one."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    write(tmp_path / "a", "gzip", [b"old"])
    other = tmp_path / ".a.12345.0.tmp"
    other.write_bytes(b"of another run")
    write(tmp_path / "a", "gzip", [b"new"])
    assert {path.name for path in tmp_path.iterdir()} == {"a", "a.sha256", other.name}


def test_a_lock_file_that_another_run_removed_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = fcntl.flock
    taken: list[str] = []

    def slow(descriptor: int, flags: int) -> None:
        if not taken:
            (name,) = temporary(tmp_path)
            (tmp_path / name).unlink()
            taken.append(name)
        real(descriptor, flags)

    monkeypatch.setattr(fcntl, "flock", slow)
    with ArchiveWriter(tmp_path / "a", "gzip"):
        assert len(temporary(tmp_path)) == 1
        assert temporary(tmp_path) != taken
