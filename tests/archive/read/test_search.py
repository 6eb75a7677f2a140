"""The search for an archive by its name, also while another process puts one in place."""

from __future__ import annotations

import fcntl
import hashlib
import os
import random
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from hangar_async import filesystem
from hangar_async.archive.names import encode_checksums
from hangar_async.archive.read import search as module
from hangar_async.archive.read.search import find_volume
from hangar_async.archive.write.commit import Commit
from hangar_async.disk import Disk
from hangar_async.engine.open_layout import find_archive
from hangar_async.errors import ArchiveError, StorageError
from tests.archive.samples import joined, noise, write


def names(directory: Path, given: str) -> list[str]:
    return [part.path.name for part in find_volume(directory / given).parts]


def parts(directory: Path, count: int, size: int = 100, base: str = "a", width: int = 1) -> list[str]:
    """Files as Hangar makes them: parts of equal size, the last one shorter, and no list of digests."""
    made = [f"{base}.part{number:0{width}}" for number in range(count)]
    for name in made:
        (directory / name).write_bytes(noise(size if name != made[-1] else size // 2))
    return made


@pytest.mark.parametrize("given", ["a", "a.part0", "a.part7", "a.part99"])
@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("part_size", [40_000, 10_000])
def test_any_name_of_an_archive_finds_all_parts(tmp_path: Path, given: str, listed: bool, part_size: int) -> None:
    written = write(tmp_path / "a", "gzip", [noise(150_000)], part_size=part_size)
    if not listed:
        (tmp_path / "a.sha256").unlink()
    volume = find_volume(tmp_path / given)
    assert [part.path for part in volume.parts] == list(written.files)
    assert volume.size == written.size
    assert volume.read(0, written.size + 1) == joined(written)
    assert volume.path == tmp_path / "a"
    assert all((part.digest is not None) == listed for part in volume.parts)


def test_one_file_is_found_by_its_name(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip")
    assert find_volume(tmp_path / "a").size == written.size
    (tmp_path / "a.sha256").unlink()
    assert names(tmp_path, "a") == ["a"]


@pytest.mark.parametrize(("count", "width"), [(1, 1), (3, 1), (11, 1), (12, 2), (101, 1), (101, 3)])
def test_parts_are_ordered_by_their_numbers(tmp_path: Path, count: int, width: int) -> None:
    made = parts(tmp_path, count, width=width)
    assert names(tmp_path, "a") == made


def test_a_name_with_dots_and_parts_in_it(tmp_path: Path) -> None:
    made = parts(tmp_path, 3, base="x.part1.tar.gz")
    parts(tmp_path, 2, base="x")
    assert names(tmp_path, "x.part1.tar.gz") == made
    assert names(tmp_path, "x.part1.tar.gz.part2") == made
    assert names(tmp_path, "x") == ["x.part0", "x.part1"]


def test_an_archive_that_has_the_name_of_a_part(tmp_path: Path) -> None:
    write(tmp_path / "a.part3", "gzip")
    assert names(tmp_path, "a.part3") == ["a.part3"]


@pytest.mark.parametrize("missing", ["a.part0", "a.part1", "a.part3"])
@pytest.mark.parametrize("listed", [True, False])
def test_a_missing_part_is_named(tmp_path: Path, missing: str, listed: bool) -> None:
    write(tmp_path / "a", "gzip", [noise(180_000)], part_size=40_000)
    (tmp_path / missing).unlink()
    if not listed:
        (tmp_path / "a.sha256").unlink()
    with pytest.raises(ArchiveError, match=f"{missing} is missing") as caught:
        find_volume(tmp_path / "a")
    assert caught.value.path == str(tmp_path / missing)


def test_a_missing_last_part_is_named_by_the_list_of_digests(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip", [noise(180_000)], part_size=40_000)
    written.files[-1].unlink()
    with pytest.raises(ArchiveError, match=f"{written.files[-1].name} is missing"):
        find_volume(tmp_path / "a")


@pytest.mark.parametrize("listed", [True, False])
def test_all_missing_and_wrong_parts_are_named(tmp_path: Path, listed: bool) -> None:
    made = write(tmp_path / "a", "gzip", [noise(280_000)], part_size=40_000).files
    for number in (1, 3):
        made[number].unlink()
    made[4].write_bytes(b"cut")
    if not listed:
        (tmp_path / "a.sha256").unlink()
    with pytest.raises(ArchiveError) as caught:
        find_volume(tmp_path / "a")
    wrong = "a.part4 has 3 bytes and the parts beside it 40000"
    assert str(caught.value) == f"{tmp_path}/a: a.part1 and a.part3 are missing; {wrong}"
    assert caught.value.problems == (
        f"{tmp_path}/a.part1 is missing",
        f"{tmp_path}/a.part3 is missing",
        f"{tmp_path}/{wrong}",
    )
    assert caught.value.advice.startswith("copy these parts here again")


def test_one_part_with_a_high_number_does_not_make_a_list_without_end(tmp_path: Path) -> None:
    parts(tmp_path, 3)
    (tmp_path / "a.part900000000").write_bytes(noise(100))
    with pytest.raises(ArchiveError, match=r"a\.part3, a\.part4, .* and 981 more are missing") as caught:
        find_volume(tmp_path / "a")
    assert len(caught.value.problems) <= 1002


def test_of_two_thousand_parts_one_in_the_middle_is_missed(tmp_path: Path) -> None:
    (tmp_path / parts(tmp_path, 2000, width=4)[1700]).unlink()
    with pytest.raises(ArchiveError, match=r"a\.part1700 is missing"):
        find_volume(tmp_path / "a")


def test_a_listed_name_that_no_file_can_have_is_missing(tmp_path: Path) -> None:
    made = parts(tmp_path, 2)
    name = f"a.part{'0' * 300}"
    (tmp_path / "a.sha256").write_text("".join(f"{'0' * 64}  {one}\n" for one in (*made, name)))
    with pytest.raises(ArchiveError, match="lists other files"):
        find_volume(tmp_path / "a")


@pytest.mark.parametrize(("number", "size"), [(0, 99), (2, 101), (4, 101), (3, 0)])
def test_a_part_of_another_size_is_named(tmp_path: Path, number: int, size: int) -> None:
    made = parts(tmp_path, 5)
    (tmp_path / made[number]).write_bytes(bytes(size))
    with pytest.raises(ArchiveError, match=f"a.part{number} has {size} bytes"):
        find_volume(tmp_path / "a")


def test_an_empty_part_is_named(tmp_path: Path) -> None:
    made = parts(tmp_path, 3)
    (tmp_path / made[-1]).write_bytes(b"")
    with pytest.raises(ArchiveError, match=r"a\.part2 is empty"):
        find_volume(tmp_path / "a")


def test_parts_of_a_longer_run_are_strays(tmp_path: Path) -> None:
    written = write(tmp_path / "a", "gzip", [noise(120_000)], part_size=40_000)
    strays = [tmp_path / name for name in ("a.part00", "a.part7", "a.part9")]
    for path in strays:
        path.write_bytes(noise(40_000))
    volume = find_volume(tmp_path / "a")
    assert [part.path for part in volume.parts] == list(written.files)
    assert set(volume.strays) == set(strays)
    with pytest.raises(ArchiveError, match=r"a\.part7 is not of the archive that a\.sha256 lists"):
        find_volume(tmp_path / "a.part7")
    (tmp_path / "a").write_bytes(noise(40_000))
    with pytest.raises(ArchiveError, match="a is not of the archive that"):
        find_volume(tmp_path / "a")


def test_without_a_list_of_digests_a_left_over_part_is_found_by_its_size(tmp_path: Path) -> None:
    parts(tmp_path, 4)
    (tmp_path / "a.part4").write_bytes(noise(100))
    with pytest.raises(ArchiveError, match=r"a\.part3 has 50 bytes"):
        find_volume(tmp_path / "a")


def test_two_parts_of_one_number_are_named(tmp_path: Path) -> None:
    parts(tmp_path, 3)
    parts(tmp_path, 3, width=2)
    with pytest.raises(ArchiveError, match=r"a\.part00? is there beside a\.part00?"):
        find_volume(tmp_path / "a")


def test_an_archive_beside_left_over_parts_is_the_archive(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(noise(10))
    made = parts(tmp_path, 2)
    volume = find_volume(tmp_path / "a")
    assert [part.path.name for part in volume.parts] == ["a"]
    assert [path.name for path in volume.strays] == made


@pytest.mark.parametrize("text", ["rubbish", f"{'0' * 64}  other\n", f"{'0' * 64}  a.part1\n", "\xff" * 10])
def test_a_list_of_digests_that_is_wrong_is_named(tmp_path: Path, text: str) -> None:
    parts(tmp_path, 2)
    (tmp_path / "a.sha256").write_text(text, encoding="latin-1")
    with pytest.raises(ArchiveError, match=r"a\.sha256"):
        find_volume(tmp_path / "a")


def test_a_missing_file_or_a_directory_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="No such file"):
        find_volume(tmp_path / "a")
    with pytest.raises(StorageError, match="No such file"):
        find_volume(tmp_path / "none" / "a")
    (tmp_path / "a").mkdir()
    with pytest.raises(ArchiveError, match="is not a file"):
        find_volume(tmp_path / "a")


def test_links_to_parts_are_followed(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    for name in parts(tmp_path / "disk", 3):
        (tmp_path / name).symlink_to(tmp_path / "disk" / name)
    assert find_volume(tmp_path / "a").read(0, 1000) == find_volume(tmp_path / "disk" / "a").read(0, 1000)
    shutil.rmtree(tmp_path / "disk")
    with pytest.raises(StorageError):
        find_volume(tmp_path / "a")


def hide(monkeypatch: pytest.MonkeyPatch, hidden: set[str]) -> None:
    """Leave names out of the lists of directories, as a file system does with other spellings of a name."""
    file_names = filesystem.file_names
    monkeypatch.setattr(module, "file_names", lambda directory: [n for n in file_names(directory) if n not in hidden])


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("given", ["Whole.tar", "Whole.tar.part1"])
def test_an_archive_is_found_by_another_spelling(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, listed: bool
) -> None:
    found = parts(tmp_path, 3 if "part" in given else 1, base="whole.tar")
    if "part" not in given:
        found = [(tmp_path / found[0]).rename(tmp_path / "whole.tar").name]
    if listed:
        digests = [hashlib.sha256((tmp_path / name).read_bytes()).hexdigest() for name in found]
        content = encode_checksums([tmp_path / name for name in found], digests)
        (tmp_path / "whole.tar.sha256").write_bytes(content)
    others = {name.replace("whole", "Whole") for name in found}
    for name in found:
        (tmp_path / name.replace("whole", "Whole")).hardlink_to(tmp_path / name)
    hide(monkeypatch, others)
    for name in {given, "Whole.tar"}:
        volume = find_volume(tmp_path / name)
        assert [part.path.name for part in volume.parts] == found
        assert all((part.digest is not None) == listed for part in volume.parts)


def test_a_list_of_digests_with_another_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole.tar").write_bytes(b"1")
    (tmp_path / "Whole.tar").hardlink_to(tmp_path / "whole.tar")
    (tmp_path / "whole.tar.sha256").write_text(f"{'0' * 64}  Whole.tar\n")
    hide(monkeypatch, {"Whole.tar"})
    (part,) = find_volume(tmp_path / "whole.tar").parts
    assert (part.path.name, part.digest) == ("whole.tar", "0" * 64)


def test_a_list_of_digests_has_a_bounded_size(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(b"x")
    line = b"0" * 64 + b"  a.tar.gz\n"
    (tmp_path / "a.tar.gz.sha256").write_bytes(line * ((16 << 20) // len(line) + 1))
    with pytest.raises(ArchiveError, match="is damaged: it has more than 16,777,216 bytes"):
        find_volume(tmp_path / "a.tar.gz")


class Noting(Disk):
    """A disk that notes the changes of a commit, by the names of the files; its rename of a number fails."""

    def __init__(self, fails: int | None) -> None:
        self.changes: list[tuple[str, ...]] | None = None
        self._fails = fails

    def rename(self, source: Path, target: Path) -> None:
        if self.changes is not None and sum(change[0] == "rename" for change in self.changes) == self._fails:
            self._fails = None
            raise StorageError("cannot rename", path=str(target))
        super().rename(source, target)
        self._note("rename", source.name, target.name)

    def keep(self, path: Path, name: Path) -> bool:
        kept = super().keep(path, name)
        if kept:
            self._note("link", path.name, name.name)
        return kept

    def remove(self, path: Path) -> None:
        is_there = os.path.lexists(path)
        super().remove(path)
        if is_there:
            self._note("unlink", path.name)

    def write_new(self, path: Path, data: bytes | Iterable[bytes], *, sync: bool = False, mode: int = 0o644) -> None:
        super().write_new(path, data)
        self._note("write", path.name, data.decode() if isinstance(data, bytes) else "")

    def _note(self, *change: str) -> None:
        if self.changes is not None:
            self.changes.append(change)


class Replay:
    """The changes of a commit in a copy of the directory in which it began, a few at a time; it is locked meanwhile."""

    def __init__(self, before: Path, directory: Path, changes: list[tuple[str, ...]]) -> None:
        shutil.copytree(before, directory)
        self.directory = directory
        self._left = iter(changes)
        self._lock = os.open(directory, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def advance(self, count: int) -> None:
        for _ in range(count):
            change = next(self._left, None)
            if change is None:
                self.close()
                return
            kind, *names = change
            first = self.directory / names[0]
            if kind == "write":
                first.write_text(names[1])
            elif kind == "unlink":
                first.unlink()
            else:
                {"rename": os.rename, "link": os.link}[kind](first, self.directory / names[1])

    def close(self) -> None:
        lock, self._lock = self._lock, -1
        if lock >= 0:
            os.close(lock)


NEW = [noise(50_000, seed=2)]
#: The calls of the system by which a reader sees something.
_LOOKS = frozenset({"stat", "lstat", "scandir", "open", "preadv", "pread", "flock"})


@contextmanager
def stepping(step: Callable[[], None]) -> Iterator[None]:
    """Call `step` before each look of this thread at the files."""
    is_free = True

    def called(_: FrameType, event: str, function: Any) -> None:
        nonlocal is_free
        if event == "c_call" and function.__name__ in _LOOKS and is_free:
            is_free = False
            try:
                step()
            finally:
                is_free = True

    before = sys.getprofile()
    sys.setprofile(called)
    try:
        yield
    finally:
        sys.setprofile(before)


def changes_of(
    home: Path, monkeypatch: pytest.MonkeyPatch, old: int | None, new: int | None, fails: int | None
) -> list[tuple[str, ...]]:
    """Commit an archive over another one, in parts of these sizes; return the changes, which begin in `before`."""
    write(home / "a", "gzip", [noise(60_000, seed=1)], part_size=old)
    disk = Noting(fails)
    run = Commit.run

    def noted(commit: Commit, *arguments: Any, **keywords: Any) -> None:
        shutil.copytree(home, home.parent / "before")
        disk.changes = []
        run(commit, *arguments, **keywords)

    with monkeypatch.context() as patch:
        patch.setattr(Commit, "run", noted)
        try:
            write(home / "a", "gzip", NEW, part_size=new, disk=disk)
        except StorageError:
            assert fails is not None
        else:
            assert fails is None
    assert disk.changes is not None
    return disk.changes


@pytest.mark.parametrize(
    ("old", "new", "fails"),
    [
        (None, None, None),
        (20_000, 30_000, None),
        (20_000, None, None),
        (None, 20_000, None),
        (20_000, 20_000, 3),
        (20_000, None, 1),
        (None, 20_000, 3),
    ],
)
def test_a_reader_beside_a_commit_finds_the_earlier_archive_or_the_new_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: int | None, new: int | None, fails: int | None
) -> None:
    """The changes of the commit happen between any looks of the reader, some of them at once.

    One that fails and is put back counts as the new archive as long as its record is there.
    """
    home, before = tmp_path / "home", tmp_path / "before"
    home.mkdir()
    changes = changes_of(home, monkeypatch, old, new, fails)
    (tmp_path / "new").mkdir()
    write(tmp_path / "new" / "a", "gzip", NEW)
    earlier, later = (set(open_entries(path / "a")) for path in (before, tmp_path / "new"))
    assert set(open_entries(home / "a")) == (later if fails is None else earlier)
    found = set()
    for seed in range(int(os.environ.get("CRASHES", "1")) * 60):
        chosen = random.Random(seed)
        replay = Replay(before, tmp_path / str(seed), changes)
        replay.advance(chosen.randrange(len(changes)))
        share = chosen.choice([0.02, 0.1, 0.5])
        most = chosen.choice([1, 3, len(changes)])

        def step(
            replay: Replay = replay, chosen: random.Random = chosen, share: float = share, most: int = most
        ) -> None:
            if chosen.random() < share:
                replay.advance(chosen.randint(1, most))

        try:
            with stepping(step):
                archive = find_archive(replay.directory / "a")
            assert archive is not None
            entries = set(archive.entries)
        finally:
            replay.close()
        assert entries in (earlier, later), seed
        found.add(entries == later)
        shutil.rmtree(replay.directory)
    assert len(found) == 2


def open_entries(path: Path) -> list[str]:
    archive = find_archive(path)
    assert archive is not None
    return list(archive.entries)


def test_an_archive_that_changes_all_the_time_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "a", "gzip")
    look = module._look

    def changing(path: Path, check: Callable[[], None]) -> Any:
        volume = look(path, check)
        write(tmp_path / "a", "gzip")
        return volume

    monkeypatch.setattr(module, "_look", changing)
    with pytest.raises(ArchiveError, match="changes all the time"):
        find_volume(tmp_path / "a")
