"""The record of a commit: its content, its checks, and the rest of a commit that a run left."""

import errno
import json
import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from hangar_async.archive.commit_record import (
    MAX_RECORD,
    CommitRecord,
    Rename,
    find_records,
    unfinished_commit,
    wait_for_directory,
)
from hangar_async.archive.read.search import find_volume
from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.oci import Digest
from hangar_async.threads import Interrupted
from tests.archive.samples import noise, visible, write

RUN = "12-ab"


def record_of(directory: Path, **changes: Any) -> Path:
    """Write the record of a commit of `a` in two parts, with other values."""
    document = {
        "version": 1,
        "run": RUN,
        "renames": [
            [f".a.{RUN}.1.tmp", "a.part0", 4, Digest.of(b"new0").hex],
            [f".a.{RUN}.2.tmp", "a.part1", 4, Digest.of(b"new1").hex],
            [f".a.{RUN}.3.tmp", "a.sha256", 6, Digest.of(b"sha256").hex],
        ],
        "removals": ["a", "a.part2"],
    }
    path = directory / f".a.{RUN}.commit"
    path.write_text(json.dumps({**document, **changes}))
    return path


def files(directory: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in directory.iterdir()}


@pytest.mark.parametrize("done", range(4))
def test_the_rest_of_a_commit_is_done(done: int, tmp_path: Path) -> None:
    record_of(tmp_path)
    for name in ("a", "a.part0", "a.part2", "a.sha256", "b"):
        (tmp_path / name).write_text("old")
    renames = [(".1.tmp", "a.part0", "new0"), (".2.tmp", "a.part1", "new1"), (".3.tmp", "a.sha256", "sha256")]
    for number, (source, target, content) in enumerate(renames):
        (tmp_path / (target if number < done else f".a.{RUN}{source}")).write_text(content)
    assert unfinished_commit(tmp_path / "a", Disk()) is None
    assert files(tmp_path) == {"a.part0": "new0", "a.part1": "new1", "a.sha256": "sha256", "b": "old"}


UNLISTED = {
    "renames": [[f".a.{RUN}.1.tmp", "a.part0", 4, None], [f".a.{RUN}.2.tmp", "a.part1", 4, None]],
    "removals": ["a", "a.part2", "a.sha256"],
}


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("done", range(3))
def test_the_rest_of_a_commit_without_digests_is_done(done: int, listed: bool, tmp_path: Path) -> None:
    """The old list of digests goes, wherever the run died."""
    record_of(tmp_path, **UNLISTED)
    for name in ("a", "a.part0", "a.part2", *(["a.sha256"] if listed else [])):
        (tmp_path / name).write_text("old")
    for number in range(2):
        (tmp_path / (f"a.part{number}" if number < done else f".a.{RUN}.{number + 1}.tmp")).write_text(f"new{number}")
    assert unfinished_commit(tmp_path / "a", Disk()) is None
    assert files(tmp_path) == {"a.part0": "new0", "a.part1": "new1"}


def test_while_the_rest_of_a_commit_is_done_no_list_is_of_a_mix(tmp_path: Path) -> None:
    """A death in the rest leaves the record, and the list that goes first is gone."""
    record_of(tmp_path, **UNLISTED)
    (tmp_path / "a.sha256").write_text("old")
    for number in range(2):
        (tmp_path / f".a.{RUN}.{number + 1}.tmp").write_text(f"new{number}")
    lists = []

    class Watched(Disk):
        def rename(self, source: Path, target: Path) -> None:
            lists.append((tmp_path / "a.sha256").exists())
            super().rename(source, target)

    assert unfinished_commit(tmp_path / "a", Watched()) is None
    assert lists == [False, False]


@pytest.mark.parametrize("content", [None, "old", "directory"])
def test_without_digests_a_file_of_another_size_is_told_and_nothing_changes(
    content: str | None, tmp_path: Path
) -> None:
    record_of(tmp_path, **UNLISTED)
    (tmp_path / f".a.{RUN}.2.tmp").write_text("new1")
    (tmp_path / "a.sha256").write_text("old")
    if content == "directory":
        (tmp_path / "a.part0").mkdir()
    elif content is not None:
        (tmp_path / "a.part0").write_text(content)
    before = sorted(os.listdir(tmp_path))
    with pytest.raises(StorageError, match=r"names \.a\.12-ab\.1\.tmp, which is gone"):
        unfinished_commit(tmp_path / "a", Disk())
    assert sorted(os.listdir(tmp_path)) == before


@pytest.mark.parametrize("content", [None, "old", "newX"])
def test_a_commit_whose_file_is_gone_is_told_and_nothing_changes(content: str | None, tmp_path: Path) -> None:
    record_of(tmp_path)
    (tmp_path / f".a.{RUN}.2.tmp").write_text("new1")
    (tmp_path / "a.sha256").write_text("sha256")
    if content is not None:
        (tmp_path / "a.part0").write_text(content)
    before = files(tmp_path)
    with pytest.raises(StorageError, match=r"record .*\.commit .* names \.a\.12-ab\.1\.tmp, which is gone") as caught:
        unfinished_commit(tmp_path / "a", Disk())
    assert "verify" in caught.value.advice
    assert files(tmp_path) == before


DAMAGED: dict[str, dict[str, Any]] = {
    "another version": {"version": 2},
    "another run": {"run": "13-ab"},
    "no list": {"renames": {}},
    "a path as the source": {"renames": [["../x", "a", 1, None]]},
    "another run's file": {"renames": [[".a.13-ab.1.tmp", "a", 1, None]]},
    "a path as the target": {"renames": [[f".a.{RUN}.1.tmp", "../a", 1, None]]},
    "another archive": {"renames": [[f".a.{RUN}.1.tmp", "b", 1, None]]},
    "a target twice": {"renames": [[f".a.{RUN}.1.tmp", "a", 1, None], [f".a.{RUN}.2.tmp", "a", 1, None]]},
    "a size below 0": {"renames": [[f".a.{RUN}.1.tmp", "a", -1, None]]},
    "no digest": {"renames": [[f".a.{RUN}.1.tmp", "a", 1, "x"]]},
    "no file": {"renames": []},
    "digests without their list": {
        "renames": [[f".a.{RUN}.1.tmp", "a.part0", 4, "0" * 64], [f".a.{RUN}.2.tmp", "a.part1", 4, "0" * 64]]
    },
    "a digest without the list": {
        "renames": [[f".a.{RUN}.1.tmp", "a.part0", 4, "0" * 64], [f".a.{RUN}.2.tmp", "a.part1", 4, None]]
    },
    "a file without a digest beside the list": {
        "renames": [[f".a.{RUN}.1.tmp", "a", 4, None], [f".a.{RUN}.3.tmp", "a.sha256", 6, "0" * 64]]
    },
    "the list of digests first": {
        "renames": [[f".a.{RUN}.3.tmp", "a.sha256", 6, None], [f".a.{RUN}.1.tmp", "a", 4, None]]
    },
    "the list of digests alone": {"renames": [[f".a.{RUN}.3.tmp", "a.sha256", 6, "0" * 64]]},
    "the removal of another file": {"removals": ["list.txt"]},
    "the removal of a new file": {"removals": ["a.part0"]},
    "a removal by path": {"removals": ["/a"]},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_a_record_that_no_commit_writes_is_refused_and_nothing_changes(name: str, tmp_path: Path) -> None:
    record_of(tmp_path, **DAMAGED[name])
    (tmp_path / "list.txt").write_text("mine")
    (tmp_path / f".a.{RUN}.1.tmp").write_text("new0")
    before = files(tmp_path)
    with pytest.raises(StorageError, match="is damaged"):
        unfinished_commit(tmp_path / "a", Disk())
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"[", b"[" * 100_000, b"\xff", b'{"version": 1}', bytes(100)])
def test_a_record_that_is_torn_is_refused(content: bytes, tmp_path: Path) -> None:
    path = record_of(tmp_path)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is damaged") as caught:
        find_records(tmp_path / "a", Disk())
    assert f"move {path.name} away" in caught.value.advice


def test_a_record_may_have_a_bounded_size(tmp_path: Path) -> None:
    with record_of(tmp_path).open("r+b") as file:
        file.truncate(MAX_RECORD + 1)
    with pytest.raises(StorageError, match="is damaged"):
        find_records(tmp_path / "a", Disk())


_CHARACTERS = st.characters(exclude_characters="/\0", exclude_categories=["Cs"])
_NAMES = st.text(_CHARACTERS, min_size=1, max_size=8).filter(lambda name: name[0] != ".")


@given(
    archive=_NAMES,
    sizes=st.lists(st.integers(0, 1 << 62), min_size=2, max_size=5),
    removed=st.booleans(),
    listed=st.booleans(),
)
def test_a_record_is_read_as_it_was_written(
    archive: str, sizes: list[int], removed: bool, listed: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("record")
    targets = [*(f"{archive}.part{number}" for number in range(len(sizes) - 1)), f"{archive}.sha256"]
    renames = [
        Rename(f".{archive}.{RUN}.{number}.tmp", target, size, Digest.of(b"").hex if listed else None)
        for number, (target, size) in enumerate(zip(targets, sizes, strict=True))
    ]
    if not listed:
        renames.pop()
    path = directory / f".a.{RUN}.commit"
    record = CommitRecord(
        directory / f".{archive}.{RUN}.commit", directory / archive, RUN, tuple(renames), (archive,) if removed else ()
    )
    path.write_bytes(record.encode())
    path.rename(record.path)
    assert CommitRecord.read(record.path, record.archive) == record


def test_a_record_that_goes_meanwhile_is_none(tmp_path: Path) -> None:
    assert CommitRecord.read(tmp_path / f".a.{RUN}.commit", tmp_path / "a") is None


class ReadOnly(Disk):
    """A file system that may be read alone."""

    def remove(self, path: Path) -> None:
        raise StorageError.of(OSError(errno.EROFS, os.strerror(errno.EROFS)), path, "remove") from OSError(
            errno.EROFS, os.strerror(errno.EROFS)
        )

    rename = remove  # type: ignore[assignment]


def interrupted(directory: Path, done: int, checksum: str = "sha256") -> Path:
    """Write an old archive in three parts, and a new one whose commit was ended after `done` of its renames."""
    listed = checksum != "none"
    new = directory / "new"
    new.mkdir()
    write(directory / "a.tar", "gzip", [noise(100_000, seed=1)], part_size=40_000)
    written = write(new / "a.tar", "gzip", [noise(60_000, seed=2)], part_size=40_000, checksum=checksum)
    names = [*(path.name for path in written.files), *(["a.tar.sha256"] if listed else [])]
    renames = []
    for number, name in enumerate(names, 1):
        content = (new / name).read_bytes()
        renames.append(
            Rename(f".a.tar.{RUN}.{number}.tmp", name, len(content), Digest.of(content).hex if listed else None)
        )
        (new / name).rename(directory / (name if number <= done else renames[-1].source))
    path = directory / f".a.tar.{RUN}.commit"
    removals = ("a.tar.part2", *(() if listed else ("a.tar.sha256",)))
    path.write_bytes(CommitRecord(path, directory / "a.tar", RUN, tuple(renames), removals).encode())
    new.rmdir()
    return directory / "a.tar"


@pytest.mark.parametrize(("done", "checksum"), [*((done, "sha256") for done in range(4)), (0, "none"), (2, "none")])
@pytest.mark.parametrize("locked", [True, False], ids=["at-work", "read-only"])
def test_an_archive_is_read_through_the_record(
    done: int, checksum: str, locked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the commit is at work, and where it may not be finished."""
    archive = interrupted(tmp_path, done, checksum)
    before = {path.name for path in tmp_path.iterdir()}
    lock = Disk().lock_directory(tmp_path) if locked else None
    if not locked:
        monkeypatch.setattr(Disk, "rename", ReadOnly.rename)
        monkeypatch.setattr(Disk, "remove", ReadOnly.remove)
    volume = find_volume(archive)
    assert [part.path.name for part in volume.parts] == ["a.tar.part0", "a.tar.part1"]
    assert volume.strays == ()
    assert {path.name for path in tmp_path.iterdir()} == before
    content = volume.read(0, volume.size)
    if lock is not None:
        os.close(lock)
        # The commit ends between two readings: the files are the same under their names.
        assert unfinished_commit(archive, Disk()) is None
        assert volume.read(0, volume.size) == content
        names = ["a.tar.part0", "a.tar.part1", "a.tar.sha256"]
        assert visible(tmp_path) == (names if checksum == "sha256" else names[:2])
        assert find_volume(archive).read(0, volume.size) == content


def test_a_record_that_is_at_work_where_nothing_can_be_locked_is_left_to_its_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = interrupted(tmp_path, 1)
    monkeypatch.setattr(Disk, "lock_directory", lambda *_, needed: None if needed else pytest.fail("it is no lock"))
    record = unfinished_commit(archive, Disk())
    assert record is not None
    assert record.run == RUN


def test_the_second_commit_in_a_directory_waits_and_says_for_which_process(tmp_path: Path) -> None:
    first = Disk().lock_directory(tmp_path)
    assert first is not None
    told: list[str] = []
    looks: list[None] = []

    def check() -> None:
        looks.append(None)
        if len(looks) == 3:
            os.close(first)

    record_of(tmp_path)
    os.close(wait_for_directory(tmp_path, Disk(), told.append, check))
    assert told == [f"waiting for process 12, which puts an archive in place in {tmp_path}"]
    assert len(looks) == 3


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_record_that_is_no_file_is_refused_at_once(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f".a.{RUN}.commit"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to(record_of(tmp_path).rename(tmp_path / "elsewhere"))
    with pytest.raises(StorageError, match="it is no file"):
        unfinished_commit(tmp_path / "a", Disk())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")
def test_a_record_of_another_user_in_a_directory_that_all_may_write_is_no_record(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    os.chown(record_of(tmp_path), 12345, 12345)
    (tmp_path / "a").write_text("mine")
    before = files(tmp_path)
    assert unfinished_commit(tmp_path / "a", Disk()) is None
    assert files(tmp_path) == before


@pytest.mark.parametrize("content", ["", "another", None])
def test_a_temporary_file_that_is_another_now_is_told_and_nothing_changes(content: str | None, tmp_path: Path) -> None:
    record_of(tmp_path)
    (tmp_path / f".a.{RUN}.1.tmp").write_text("new0")
    (tmp_path / f".a.{RUN}.3.tmp").write_text("sha256")
    if content is None:
        (tmp_path / f".a.{RUN}.2.tmp").symlink_to("a")
    else:
        (tmp_path / f".a.{RUN}.2.tmp").write_text(content)
    (tmp_path / "a").write_text("old")
    before = files(tmp_path)
    with pytest.raises(StorageError, match="which is another file now"):
        unfinished_commit(tmp_path / "a", Disk())
    assert files(tmp_path) == before


@pytest.mark.parametrize("at", [1, 2])
def test_a_commit_that_is_finished_can_be_interrupted(at: int, tmp_path: Path) -> None:
    archive = interrupted(tmp_path, 2)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    calls: list[None] = []

    def check() -> None:
        calls.append(None)
        if len(calls) == at:
            raise Interrupted

    with pytest.raises(Interrupted):
        unfinished_commit(archive, Disk(), check)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    assert unfinished_commit(archive, Disk()) is None
    assert visible(tmp_path) == ["a.tar.part0", "a.tar.part1", "a.tar.sha256"]
