"""Files are changed in one place, and on every kind of file system."""

import errno
import fcntl
import mmap
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from hangar_async.disk import ALIGNMENT, Disk
from hangar_async.errors import StorageError


def aligned(size: int) -> memoryview:
    view = memoryview(mmap.mmap(-1, size))
    view[:] = os.urandom(size)
    return view


@pytest.mark.parametrize("sizes", [[1], [ALIGNMENT, 1], [3 * ALIGNMENT, ALIGNMENT, 7, ALIGNMENT, 1], [10]])
def test_direct_writing_takes_any_pieces(tmp_path: Path, sizes: list[int]) -> None:
    disk = Disk()
    descriptor = disk.create(tmp_path / "x", direct=True)
    wrote = b""
    for size in sizes:
        piece = aligned(size)
        disk.write(descriptor, piece, tmp_path / "x")
        wrote += bytes(piece)
    disk.sync_file(descriptor, tmp_path / "x")
    disk.close(descriptor, tmp_path / "x")
    assert (tmp_path / "x").read_bytes() == wrote


def test_a_file_system_without_direct_writing_gets_a_plain_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = os.open

    def refuse(path: Path, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_DIRECT:
            os.close(real(path, flags & ~os.O_DIRECT, mode))  # it makes the file before it refuses
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(path, flags, mode)

    monkeypatch.setattr(os, "open", refuse)
    disk = Disk()
    descriptor = disk.create(tmp_path / "x", direct=True)
    assert not disk.is_direct(descriptor)
    disk.close(descriptor, tmp_path / "x")


def test_a_direct_file_that_is_there_already_stays(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("earlier")
    for direct in (True, False):
        with pytest.raises(StorageError, match="File exists"):
            Disk().create(tmp_path / "x", direct=direct)
    assert (tmp_path / "x").read_text() == "earlier"


def test_an_error_of_the_system_is_no_reason_to_write_otherwise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk()
    descriptor = disk.create(tmp_path / "x")

    def broken(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "write", broken)
    with pytest.raises(StorageError, match="Invalid argument"):
        disk.write(descriptor, b"data", tmp_path / "x")
    disk.release(descriptor)


def refusing(code: int) -> Callable[..., None]:
    def refuse(*arguments: object) -> None:
        raise OSError(code, os.strerror(code))

    return refuse


@pytest.mark.parametrize("code", [errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS])
def test_a_directory_that_cannot_be_synced_is_passed_over_and_a_file_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setattr(os, "fsync", refusing(code))
    Disk().sync(tmp_path)
    with pytest.raises(StorageError, match="sync"):
        Disk().sync(tmp_path / "file")


def test_a_directory_whose_sync_fails_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", refusing(errno.EIO))
    with pytest.raises(StorageError, match="Input/output error"):
        Disk().sync(tmp_path)


@pytest.mark.parametrize("code", [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_worked_on_without_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(code))
    for descriptor in (Disk().lock(tmp_path / "lock"), Disk().hold(tmp_path / "held")):
        assert descriptor is not None
        os.close(descriptor)
    # A file of another process cannot be told from a leftover: it stays.
    assert Disk().seize(tmp_path / "lock") is None


def test_another_error_of_a_lock_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "flock", refusing(errno.EIO))
    for lock in (Disk().lock, Disk().hold):
        with pytest.raises(StorageError, match="lock"):
            lock(tmp_path / lock.__name__)


def test_the_lacks_of_a_file_system_are_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk()
    assert disk.remarks() == []
    monkeypatch.setattr(fcntl, "flock", refusing(errno.ENOLCK))
    monkeypatch.setattr(os, "fsync", refusing(errno.EINVAL))
    for _ in range(2):
        descriptor = disk.lock(tmp_path / "lock")
        assert descriptor is not None
        os.close(descriptor)
        disk.sync(tmp_path)
    locks, sync = disk.remarks()
    assert locks.startswith(f"the file system of {tmp_path / 'lock'} has no locks: two runs must not use one cache")
    assert sync.startswith(f"the file system of {tmp_path} cannot sync directories: ")
    disk.sync(tmp_path)
    assert disk.remarks() == []


def test_a_lock_is_of_the_file_that_has_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, real = tmp_path / ".lock", fcntl.flock
    removed: list[int] = []

    def slow(descriptor: int, operation: int) -> None:
        if not removed:
            removed.append(descriptor)
            path.unlink()
        real(descriptor, operation)

    monkeypatch.setattr(fcntl, "flock", slow)
    lock = Disk().lock(path)
    assert lock is not None
    assert os.path.samestat(os.fstat(lock), path.stat())
    os.close(lock)
