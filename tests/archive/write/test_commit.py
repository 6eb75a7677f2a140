import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import pytest

from hangar_async.archive.write.commit import part_paths
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.oci.digest import Digest
from tests.archive.samples import fill, joined, needs, noise, temporary, visible, write
from tests.fakes.faulty_disk import FaultyDisk

MIB = 1 << 20


@pytest.mark.parametrize(
    ("count", "names"),
    [
        (1, ["a.part0"]),
        (10, [f"a.part{number}" for number in range(10)]),
        (11, [f"a.part{number:02}" for number in range(11)]),
        (101, [f"a.part{number:03}" for number in range(101)]),
    ],
)
def test_parts_sort_by_their_names(count: int, names: list[str]) -> None:
    found = [path.name for path in part_paths(Path("dir/a"), count)]
    assert found == names == sorted(names)


@pytest.mark.parametrize("part_size", [None, 100_000, 10_000])
@pytest.mark.parametrize("name", ["saved.tar.gz", "with space\tand tab", "back\\slash", "line\nbreak", "-dash", "ünï"])
def test_sha256sum_checks_what_was_written(tmp_path: Path, name: str, part_size: int | None) -> None:
    needs("sha256sum")
    written = write(tmp_path / name, "gzip", [noise(150_000)], part_size=part_size)
    command = ["sha256sum", "--strict", "-c", f"./{name}.sha256"]
    found = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert found.stdout.count(": OK\n") == len(written.files)


def test_what_an_earlier_archive_had_more_goes(tmp_path: Path) -> None:
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


def test_a_directory_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "a" / "inside").mkdir(parents=True)
    with pytest.raises(StorageError, match="it is a directory"):
        write(tmp_path / "a", "gzip")
    assert os.listdir(tmp_path) == ["a"]
    with pytest.raises(StorageError, match="cannot read"):
        write(tmp_path / "nowhere" / "a", "gzip", [])


def test_a_link_is_replaced_and_what_it_led_to_stays(tmp_path: Path) -> None:
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
            assert not disk.failed
            break
        assert state(old_directory) == old
        assert temporary(old_directory) == []
    assert failed == {"create", "write", "sync_file", "close", "rename", "keep", "sync", "names", "hold"}
    assert state(old_directory) == state(whole)


def test_the_descriptors_are_all_closed(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for number in range(60):
        try:
            write(tmp_path / "a", "gzip", [noise(100_000)], part_size=30_000, disk=FaultyDisk(number))
        except StorageError:
            assert len(os.listdir("/dev/fd")) == before
        else:
            break
    assert len(os.listdir("/dev/fd")) == before


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


def test_all_is_on_the_disk_before_anything_has_its_name_and_the_names_are_before_success(tmp_path: Path) -> None:
    order = Order()
    write(tmp_path / "a", "gzip", [noise(100_000)], part_size=30_000, disk=order)
    names = [name for name, _ in order.done]
    renamed = names.index("rename")
    created = {path for name, path in order.done if name == "create"}
    synced = {path for name, path in order.done[:renamed] if name == "sync_file"}
    closed = {path for name, path in order.done[:renamed] if name == "close"}
    assert synced == closed == created - {path for path in created if path.endswith(".0.tmp")}
    assert [path for name, path in order.done if name == "rename"] == [
        "a.part0", "a.part1", "a.part2", "a.part3", "a.sha256",
    ]  # fmt: skip
    assert ("sync", tmp_path.name) in order.done[renamed:]


def test_what_is_written_through_the_page_cache_is_synced_on_the_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that there is little left to be waited for at the end; parts of this size cannot be written past it."""

    class Counting(Disk):
        syncs: ClassVar[list[Path]] = []

        def sync_file(self, descriptor: int, path: Path) -> None:
            self.syncs.append(path)
            super().sync_file(descriptor, path)

    monkeypatch.setattr("hangar_async.archive.write.parts._SYNC_EVERY", MIB)
    source = tmp_path / "source"
    source.write_bytes(noise(4 * MIB))
    for name, sync in (("synced", True), ("other", False)):
        with ArchiveWriter(tmp_path / name, "gzip", part_size=3 * MIB - 1, disk=Counting(), sync=sync) as writer:
            writer.add_file("blob", source, 4 * MIB, digest=Digest.of(source.read_bytes()), compressed=True)
            written = writer.commit()
        assert len(written.files) == 2
    on_the_way = Counter(path for path in Counting.syncs if ".tmp" in path.name)
    assert max(on_the_way.values()) > 1
    assert [path.read_bytes() for path in sorted(tmp_path.glob("synced.part*"))] == [
        path.read_bytes() for path in sorted(tmp_path.glob("other.part*"))
    ]


def test_without_sync_nothing_is_synced(tmp_path: Path) -> None:
    order = Order()
    write(tmp_path / "a", "gzip", [noise(100_000)], sync=False, disk=order)
    assert not {"sync", "sync_file"} & {name for name, _ in order.done}


def test_what_a_dead_run_left_goes_and_what_a_living_one_has_stays(tmp_path: Path) -> None:
    for name in (".a.12-ab.0.tmp", ".a.12-ab.3.tmp", ".a.99-cd.1.tmp"):
        (tmp_path / name).write_text("left over")
    others = [".a.12-ab.tmp", ".b.12-ab.0.tmp", ".a.x.0.tmp"]
    for name in others:
        (tmp_path / name).write_text("not ours")
    with ArchiveWriter(tmp_path / "a", "gzip", part_size=MIB) as living:
        fill(living, [noise(3 * MIB)], tmp_path)
        held = temporary(tmp_path)
        assert len(held) > len(others) + 2
        assert not [name for name in held if name.startswith((".a.12-ab.0", ".a.12-ab.3", ".a.99"))]
        second = write(tmp_path / "a", "gzip", [b"second"])
        assert temporary(tmp_path) == held
        assert len(joined(second)) == second.size
        living.commit()
    assert visible(tmp_path) == ["a.part0", "a.part1", "a.part2", "a.part3", "a.sha256"]
    assert temporary(tmp_path) == sorted(others)


KILLED = """
import sys, time
from pathlib import Path
from typing import ClassVar
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


def test_a_file_system_without_locks_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"cannot lock .*No locks available"):
        write(tmp_path / "a", "gzip", [])
    assert os.listdir(tmp_path) == []


def test_a_lock_file_that_another_run_took_for_left_over_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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


def test_an_error_of_the_disk_in_the_background_ends_the_writing(tmp_path: Path) -> None:
    class Broken(Disk):
        def sync_file(self, descriptor: int, path: Path) -> None:
            raise StorageError.of(OSError(errno.EIO, "Input/output error"), path, "sync")

    source = tmp_path / "source"
    source.write_bytes(noise(MIB))
    with ArchiveWriter(tmp_path / "a", "gzip", part_size=MIB, disk=Broken()) as writer:
        with pytest.raises(StorageError, match="Input/output error"):
            for number in range(1000):
                writer.add_file(f"blob{number}", source, MIB, digest=Digest.of(b""), compressed=True)
        assert number < 999
    assert os.listdir(tmp_path) == ["source"]
