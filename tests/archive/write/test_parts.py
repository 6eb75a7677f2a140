import errno
import hashlib
import os
import tempfile
import threading
from collections import Counter
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import given, settings, strategies as st

from hangar_async.archive.write.parts import JobThread, PartWriter
from hangar_async.archive.write.writer import ArchiveWriter
from hangar_async.disk import ALIGNMENT, Disk
from hangar_async.errors import StorageError
from hangar_async.oci.digest import Digest
from hangar_async.temporary import TemporaryFiles
from tests.archive.samples import MIB, noise, write
from tests.fakes.faulty_disk import FaultyDisk

_pieces = st.lists(st.sampled_from([0, 1, 4095, 4096, 100_000, MIB, 2 * MIB]), max_size=12)


@settings(max_examples=60, deadline=None)
@given(_pieces, st.none() | st.sampled_from([ALIGNMENT, 100_000, MIB, 3 * MIB - 1]) | st.integers(50_000, 5 * MIB))
def test_the_stream_is_cut_at_exactly_the_size_of_a_part(sizes: list[int], part_size: int | None) -> None:
    if part_size == ALIGNMENT:
        sizes = [size % MIB for size in sizes]
    data = noise(sum(sizes))
    with tempfile.TemporaryDirectory() as directory:
        names = TemporaryFiles(Path(directory, "a"), Disk())
        writer = PartWriter(names, Disk(), part_size, sync=False)
        position = 0
        for size in sizes:
            if size % 2:
                writer.write(data[position : position + size])
            else:
                writer.space(size)[:size] = data[position : position + size]
                writer.advance(size)
            position += size
            assert writer.position == position
        parts = writer.finish()
        written = [part.path.read_bytes() for part in parts]
        writer.abandon()
        names.close()
        assert os.listdir(directory) == []
    whole = len(data) if part_size is None else part_size
    assert written == [data[start : start + whole] for start in range(0, len(data), max(1, whole))]
    assert [part.digest for part in parts] == [hashlib.sha256(part).hexdigest() for part in written]
    assert writer.number == max(0, len(parts) - 1)


def test_jobs_run_in_their_order_in_one_thread() -> None:
    jobs = JobThread("jobs")
    done: list[tuple[int, str]] = []
    for number in range(100):
        jobs.put(lambda number=number: done.append((number, threading.current_thread().name)))  # type: ignore[misc]
    jobs.stop()
    jobs.check()
    jobs.stop()
    assert done == [(number, "jobs") for number in range(100)]


def test_the_first_error_of_a_job_is_raised_and_later_jobs_still_run() -> None:
    jobs = JobThread("jobs")
    done: list[int] = []

    def fail(text: str) -> None:
        raise OSError(text)

    for job in (lambda: fail("first"), lambda: fail("second"), lambda: done.append(1)):
        jobs.put(job)
    jobs.stop()
    with pytest.raises(OSError, match="first"):
        jobs.check()
    assert done == [1]


def test_parts_in_the_page_cache_are_synced_on_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Little is left to wait for at the end; parts of this size cannot be written past the page cache."""

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


def test_an_error_of_the_disk_in_a_thread_ends_the_writing(tmp_path: Path) -> None:
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


def test_a_failed_operation_leaves_no_file_open(tmp_path: Path) -> None:
    before = len(os.listdir("/dev/fd"))
    for number in range(60):
        try:
            write(tmp_path / "a", "gzip", [noise(100_000)], part_size=30_000, disk=FaultyDisk(number))
        except StorageError:
            assert len(os.listdir("/dev/fd")) == before
        else:
            break
    assert len(os.listdir("/dev/fd")) == before


def test_without_threads_the_same_parts_are_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    contents = [noise(100_000), bytes(3 * MIB)]
    (tmp_path / "with").mkdir()
    write(tmp_path / "with" / "a", "gzip", contents, part_size=30_000)

    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    (tmp_path / "without").mkdir()
    write(tmp_path / "without" / "a", "gzip", contents, part_size=30_000)
    written, expected = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("without", "with")
    )
    assert written == expected


def test_without_threads_the_first_error_is_raised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    for number in range(60):
        try:
            write(tmp_path / "a", "gzip", [noise(100_000)], part_size=30_000, disk=FaultyDisk(number))
        except StorageError:
            assert not [name for name in os.listdir(tmp_path) if name.endswith(".tmp")]
        else:
            break
    assert number > 10


def test_any_number_of_parts_has_few_files_open(tmp_path: Path) -> None:
    class Counting(Disk):
        open_files: ClassVar[set[int]] = set()
        most: ClassVar[int] = 0

        def create(self, path: Path, *, direct: bool = False, mode: int = 0o644) -> int:
            descriptor = super().create(path, direct=direct, mode=mode)
            if path.name.endswith(".tmp"):
                self.open_files.add(descriptor)
                Counting.most = max(Counting.most, len(self.open_files))
            return descriptor

        def close(self, descriptor: int, path: Path) -> None:
            self.open_files.discard(descriptor)
            super().close(descriptor, path)

    write(tmp_path / "a", "gzip", [noise(500_000)], part_size=1_000, disk=Counting())
    assert len(list(tmp_path.glob("a.part*"))) > 400
    assert Counting.most <= 9


def test_without_digests_nothing_is_hashed(tmp_path: Path) -> None:
    data = noise(3 * MIB)
    names = TemporaryFiles(tmp_path / "a", Disk())
    writer = PartWriter(names, Disk(), MIB, sync=False, hashed=False)
    writer.write(data)
    (tmp_path / "b").write_bytes(b"".join(part.path.read_bytes() for part in writer.finish()))
    assert [(part.digest, part.size) for part in writer.parts] == [(None, MIB)] * 3
    assert (tmp_path / "b").read_bytes() == data
    names.close()
