"""The last starts of jobs outlive the process."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import StorageError
from hangar_async.state.starts import note_start, read_starts


def test_the_last_start_of_each_job_is_known(tmp_path: Path) -> None:
    path = tmp_path / "state"
    assert read_starts(path, Disk()) == {}
    for job, time in (("a", 1_800_000_000.9), ("b", 1_800_000_100.0), ("a", 1_800_003_600.0)):
        note_start(path, Disk(), job, time)
    assert read_starts(path, Disk()) == {"a": 1_800_003_600.0, "b": 1_800_000_100.0}
    assert [one.name for one in tmp_path.iterdir()] == ["state"]


def test_a_start_that_cannot_be_read_is_long_ago(tmp_path: Path) -> None:
    path = tmp_path / "state"
    note_start(path, Disk(), "a", 1_800_000_000.0)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE start SET seen = 'x'")
    assert read_starts(path, Disk()) == {"a": 0.0}


def test_a_damaged_state_is_told(tmp_path: Path) -> None:
    path = tmp_path / "state"
    note_start(path, Disk(), "a", 1.0)
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes(len(content) - 100))
    with pytest.raises(StorageError, match="is damaged"):
        read_starts(path, Disk())
