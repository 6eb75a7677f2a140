"""Temporary names: locked while their run lives, removed by the next run."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.temporary import TemporaryFiles, run_of, run_of_record, write_output


def names(directory: Path) -> list[str]:
    return sorted(os.listdir(directory))


def test_a_file_that_cannot_be_removed_is_told_and_the_others_go(tmp_path: Path) -> None:
    class Stubborn(Disk):
        def remove(self, path: Path) -> None:
            if path.name.endswith(".1.tmp"):
                raise StorageError.of(OSError(errno.EPERM, "Operation not permitted"), path, "remove")
            super().remove(path)

    told: list[str] = []
    files = TemporaryFiles(tmp_path / "a", Stubborn(), told.append)
    for _ in range(3):
        files.new().write_text("part")
    files.close()
    [left] = names(tmp_path)
    assert told == [f"cannot remove {tmp_path / left}: Operation not permitted"]
    files.close()
    TemporaryFiles(tmp_path / "a", Disk()).close()
    assert names(tmp_path) == []


def test_a_forgotten_file_stays(tmp_path: Path) -> None:
    files = TemporaryFiles(tmp_path / "a", Disk())
    kept, removed = files.new(), files.new()
    for path in (kept, removed):
        path.write_text("part")
    files.forget(kept)
    files.close()
    assert names(tmp_path) == [kept.name]


KILLED = """
import sys, time
from pathlib import Path
from hangar_async.disk import Disk
from hangar_async.temporary import TemporaryFiles
files = TemporaryFiles(Path(sys.argv[1]), Disk())
directory = files.new()
(directory / "below").mkdir(parents=True)
(directory / "below" / "file").write_text("left over")
print("made", flush=True)
time.sleep(600)
"""


def test_a_directory_of_a_killed_run_is_removed_by_the_next_one_and_not_before(tmp_path: Path) -> None:
    target = tmp_path / "a"
    with subprocess.Popen([sys.executable, "-c", KILLED, target], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert run.stdout.readline() == "made\n"
        TemporaryFiles(target, Disk()).close()
        assert len(names(tmp_path)) == 2
        run.send_signal(signal.SIGKILL)
    TemporaryFiles(tmp_path / "b", Disk()).close()
    assert len(names(tmp_path)) == 2
    TemporaryFiles(target, Disk()).close()
    assert names(tmp_path) == []


def test_files_of_a_run_whose_commit_is_recorded_stay(tmp_path: Path) -> None:
    files = TemporaryFiles(tmp_path / "a", Disk())
    part = files.new()
    part.write_text("part")
    files.record.write_text("record")
    files.close()
    TemporaryFiles(tmp_path / "a", Disk()).close()
    assert {part.name, files.record.name} < set(names(tmp_path))
    files.record.unlink()
    TemporaryFiles(tmp_path / "a", Disk()).close()
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("name", "run", "committing"),
    [
        (".a.12-ab.3.tmp", "12-ab", None),
        (".a.12-ab.commit", None, "12-ab"),
        (".a\nb.12-ab.3.tmp", None, None),
        (".b.12-ab.3.tmp", None, None),
        (".a.12-ab.tmp", None, None),
        (".a.x.0.tmp", None, None),
        ("a.12-ab.3.tmp", None, None),
        (".a.12-ab.3.commit", None, None),
    ],
)
def test_names_of_a_run(name: str, run: str | None, committing: str | None) -> None:
    assert run_of(name, "a") == run
    assert run_of_record(name, "a") == committing


def test_a_private_file_is_one_from_the_start(tmp_path: Path) -> None:
    modes: list[int] = []

    class Watched(Disk):
        def write(self, descriptor: int, data: bytes | memoryview, path: Path) -> None:
            modes.append(os.fstat(descriptor).st_mode & 0o777)
            super().write(descriptor, data, path)

    path = tmp_path / "x"
    path.write_text("before")
    path.chmod(0o644)
    write_output(path, b"after", Watched(), mode=0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"after", 0o600)
    assert modes == [0o600]
    assert [entry.name for entry in tmp_path.iterdir()] == ["x"]


def test_a_record_that_is_written_during_the_sweep_keeps_its_files(tmp_path: Path) -> None:
    class Slow(Disk):
        def seize(self, path: Path) -> int | None:
            (tmp_path / ".a.12-ab.commit").write_text("record")
            return super().seize(path)

    for name in (".a.12-ab.0.tmp", ".a.12-ab.1.tmp"):
        (tmp_path / name).write_text("part")
    TemporaryFiles(tmp_path / "a", Slow()).close()
    assert names(tmp_path) == [".a.12-ab.0.tmp", ".a.12-ab.1.tmp", ".a.12-ab.commit"]


def test_a_link_or_directory_in_place_of_a_lock_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / ".a.12-ab.0.tmp").symlink_to("x")
    (tmp_path / ".a.13-ab.0.tmp").mkdir()
    TemporaryFiles(tmp_path / "a", Disk()).close()
    assert names(tmp_path) == [".a.12-ab.0.tmp", ".a.13-ab.0.tmp"]
