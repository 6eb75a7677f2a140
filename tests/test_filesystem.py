import os
import resource
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from hangar_async import filesystem
from hangar_async.disk import Disk
from hangar_async.filesystem import (
    allow_open_files,
    device,
    file_system,
    foreign_right,
    free_bytes,
    largest_file,
    listed_path,
    make_directory,
    most_transfers,
    read_bounded,
)

GIB = 1 << 30


def mounts(tmp_path: Path, kind: str) -> Path:
    number = device(tmp_path)
    path = tmp_path / "mountinfo"
    path.write_text(
        "22 28 0:21 / /proc rw,nosuid shared:12 - proc proc rw\n"
        f"36 35 {os.major(number)}:{os.minor(number)} / {tmp_path} rw,noatime master:1 - {kind} /dev/sdb1 rw\n"
        "nonsense\n"
    )
    return path


def test_free_bytes_of_a_path_that_does_not_exist_yet(small_disk: Callable[[int], Path]) -> None:
    place = small_disk(4 << 20)
    assert free_bytes(place / "not" / "there") == 4 << 20
    (place / "file").write_bytes(bytes(1 << 20))
    assert free_bytes(place) == 3 << 20
    assert device(place / "new") != device(place.parent)
    assert file_system(place) == "tmpfs"


@pytest.mark.parametrize("kind", ["vfat", "msdos"])
def test_a_file_on_fat_is_shorter_than_four_gib(tmp_path: Path, kind: str) -> None:
    assert largest_file(tmp_path / "x", mounts(tmp_path, kind)) == 4 * GIB - 1


@pytest.mark.parametrize("kind", ["ext4", "exfat", "fuseblk"])
def test_others_have_no_limit_that_is_known(tmp_path: Path, kind: str) -> None:
    assert largest_file(tmp_path, mounts(tmp_path, kind)) is None
    assert largest_file(tmp_path, tmp_path / "nowhere") is None


def test_the_limit_of_the_process_counts(tmp_path: Path, file_limit: Callable[[int], None]) -> None:
    file_limit(GIB)
    assert largest_file(tmp_path) == GIB
    assert largest_file(tmp_path, mounts(tmp_path, "vfat")) == GIB
    file_limit(8 * GIB)
    assert largest_file(tmp_path, mounts(tmp_path, "vfat")) == 4 * GIB - 1


@given(st.text())
def test_any_text_of_the_system_is_read(text: str) -> None:
    path = Path(filesystem.__file__)

    class Mounts(type(path)):  # type: ignore[misc]
        def read_text(self, *_: object, **__: object) -> str:
            return text

    assert isinstance(file_system(path, Mounts("x")), str)


def test_open_files_are_allowed_as_far_as_the_system_lets_us() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        assert allow_open_files(100) == 256
        assert allow_open_files(300) == 300
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (300, hard)
        assert allow_open_files(2 * hard) == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_a_file_that_is_found_by_another_spelling_has_its_listed_name(tmp_path: Path) -> None:
    (tmp_path / "whole.tar.gz").write_bytes(b"1")
    for name in ("Whole.tar.gz", "a-link"):
        (tmp_path / name).hardlink_to(tmp_path / "whole.tar.gz")
    (tmp_path / "other").write_bytes(b"1")
    listed = ["a-link", "other", "whole.tar.gz"]
    assert listed_path(tmp_path / "Whole.tar.gz", listed).name == "whole.tar.gz"
    assert listed_path(tmp_path / "Whole.tar.gz", listed[:2]).name == "a-link"
    for name in ("whole.tar.gz", "missing", "other"):
        assert listed_path(tmp_path / name, listed).name == name


@pytest.mark.parametrize(("limit", "transfers"), [(24, 1), (64, 12), (1024, 492)])
def test_the_limit_of_open_files_bounds_the_transfers(
    monkeypatch: pytest.MonkeyPatch, limit: int, transfers: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (limit, limit))
    assert most_transfers() == transfers


@pytest.mark.parametrize("size", [0, 1, 65_536, 100_000])
def test_a_small_file_is_read_up_to_its_bound(tmp_path: Path, size: int) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(size))
    assert read_bounded(path, size) == bytes(size)
    if size:
        with pytest.raises(ValueError, match=f"it has more than {size - 1:,} bytes"):
            read_bounded(path, size - 1)


def test_a_file_without_end_is_given_up_and_a_small_one_takes_no_memory_ahead(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="more than 1,000,000 bytes"):
        read_bounded(Path("/dev/zero"), 1_000_000)
    path = tmp_path / "file"
    path.write_bytes(b"x")
    tracemalloc.start()
    try:
        assert read_bounded(path, 1 << 30) == b"x"
        assert tracemalloc.get_traced_memory()[1] < 1 << 20
    finally:
        tracemalloc.stop()


def test_the_names_of_new_directories_are_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[Path] = []
    monkeypatch.setattr(Disk, "sync", lambda disk, path: synced.append(path))
    make_directory(tmp_path / "a" / "b", Disk(), 0o700)
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700
    assert set(synced) == {tmp_path, tmp_path / "a"}
    synced.clear()
    make_directory(tmp_path / "a" / "b", Disk(), 0o700)
    assert synced == []


@pytest.mark.parametrize(
    ("file", "folder", "why"),
    [
        (0o644, 0o755, ""),
        (0o600, 0o1777, ""),
        (0o664, 0o755, "mirror.yaml may be written by its group"),
        (0o1646, 0o755, "mirror.yaml may be written by all"),
        (0o644, 0o775, "jobs may be written by its group"),
    ],
)
def test_the_rights_of_others_to_change_a_file(tmp_path: Path, file: int, folder: int, why: str) -> None:
    path = tmp_path / "jobs" / "mirror.yaml"
    path.parent.mkdir()
    path.touch()
    path.chmod(file)
    path.parent.chmod(folder)
    (tmp_path / "link").symlink_to(path)
    for one in (path, tmp_path / "link"):
        assert foreign_right(one) == (why and f"{tmp_path}/{'' if why.startswith('jobs') else 'jobs/'}{why}")


def test_a_file_of_another_user_is_his_to_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mirror.yaml"
    path.touch(mode=0o644)
    monkeypatch.setattr(os, "geteuid", lambda: 70_000)
    owner = path.stat().st_uid
    assert foreign_right(path) == ("" if owner == 0 else f"{path} belongs to user {owner}")
