"""Plain tars; tar itself reads them."""

import errno
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from hangar_async.archive.write.plain_tar import PlainTar
from hangar_async.disk import Disk
from hangar_async.errors import DigestMismatch, StorageError
from hangar_async.oci.digest import Digest
from hangar_async.threads import Interrupted


def add(tar: PlainTar, name: str, data: bytes, digest: Digest | None = None, size: int | None = None) -> None:
    pieces = iter([data[start : start + 1000] for start in range(0, len(data), 1000)])
    tar.add(name, len(data) if size is None else size, pieces, digest or Digest.of(data), lambda _: None)


def tar_contents(path: Path) -> dict[str, bytes]:
    found = {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            file = tar.extractfile(member)
            assert file is not None
            assert (member.uid, member.gid, member.mtime, member.mode) == (0, 0, 0, 0o644)
            found[member.name] = file.read()
    return found


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=3000), max_size=5))
def test_added_files_read_back(tmp_path: Path, files: list[bytes]) -> None:
    named = {f"{number}.tar": data for number, data in enumerate(files)}
    with PlainTar(tmp_path / "x.tar", sync=False) as tar:
        for name, data in named.items():
            add(tar, name, data)
        size = tar.commit()
    assert tar_contents(tmp_path / "x.tar") == named
    assert size == (tmp_path / "x.tar").stat().st_size
    assert size % 10240 == 0
    assert os.listdir(tmp_path) == ["x.tar"]


def test_gnu_tar_reads_it(tmp_path: Path) -> None:
    with PlainTar(tmp_path / "x.tar") as tar:
        add(tar, "a.json", b"1")
        add(tar, "b.tar", b"2" * 5000)
        tar.commit()
    listed = subprocess.run(["tar", "-tf", tmp_path / "x.tar"], check=True, capture_output=True, text=True)
    assert listed.stdout.split() == ["a.json", "b.tar"]


def test_without_a_commit_the_target_stays_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("earlier")
    with PlainTar(tmp_path / "x.tar") as tar:
        add(tar, "a", b"1")
    assert (tmp_path / "x.tar").read_text() == "earlier"
    assert os.listdir(tmp_path) == ["x.tar"]
    with PlainTar(tmp_path / "other.tar"):
        pass
    assert os.listdir(tmp_path) == ["x.tar"]


@pytest.mark.parametrize(
    ("size", "problem"),
    [
        (None, "is damaged: its bytes have the digest"),
        (0, "is larger than the 0 bytes declared"),
        (3, "is larger than the 3 bytes declared"),
        (5, "has 4 bytes instead of 5"),
        (10_000, "has 4 bytes instead of 10000"),
    ],
)
def test_content_of_another_digest_or_size_leaves_no_file(tmp_path: Path, size: int | None, problem: str) -> None:
    digest = Digest.of(b"other") if size is None else Digest.of(b"data")
    with pytest.raises(DigestMismatch, match=problem), PlainTar(tmp_path / "x.tar") as tar:
        add(tar, "a", b"data", digest, size)
    assert os.listdir(tmp_path) == []


def test_no_more_is_written_than_was_declared(tmp_path: Path) -> None:
    def endless() -> Iterator[bytes]:
        while True:
            yield bytes(1 << 16)

    with pytest.raises(DigestMismatch), PlainTar(tmp_path / "x.tar") as tar:
        tar.add("a", 1 << 20, endless(), None, lambda _: None)


def test_an_error_of_the_report_leaves_no_file(tmp_path: Path) -> None:
    def stop(count: int) -> None:
        raise Interrupted

    with pytest.raises(Interrupted), PlainTar(tmp_path / "x.tar") as tar:
        tar.add("a", 4, iter([b"data"]), None, stop)
    assert os.listdir(tmp_path) == []


class Failing(Disk):
    """A disk of which one operation fails."""

    def __init__(self, number: int) -> None:
        self.left = number

    def _step(self, path: Path) -> None:
        self.left -= 1
        if self.left < 0:
            self.left = 1_000_000
            raise StorageError.of(OSError(errno.ENOSPC, "No space left on device"), path)

    def create(self, path: Path, *, direct: bool = False, mode: int = 0o644) -> int:
        self._step(path)
        return super().create(path, mode=mode)

    def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
        self._step(path)
        super().write(descriptor, data, path)

    def sync_file(self, descriptor: int, path: Path) -> None:
        self._step(path)
        super().sync_file(descriptor, path)

    def close(self, descriptor: int, path: Path) -> None:
        super().close(descriptor, path)
        self._step(path)

    def rename(self, source: Path, target: Path) -> None:
        self._step(target)
        super().rename(source, target)


def test_a_full_disk_at_any_operation_leaves_the_earlier_file(tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_text("earlier")
    for number in range(100):
        try:
            with PlainTar(tmp_path / "x.tar", disk=Failing(number)) as tar:
                add(tar, "a", b"1" * 2500)
                tar.commit()
        except StorageError:
            assert (tmp_path / "x.tar").read_text() == "earlier"
            assert os.listdir(tmp_path) == ["x.tar"], f"left by operation {number}"
            continue
        break
    assert number > 8
    assert tar_contents(tmp_path / "x.tar") == {"a": b"1" * 2500}


def test_files_of_a_killed_run_are_removed(tmp_path: Path) -> None:
    (tmp_path / ".x.tar.1-00000000.1.tmp").write_text("left")
    with PlainTar(tmp_path / "x.tar") as tar:
        tar.commit()
    assert os.listdir(tmp_path) == ["x.tar"]
