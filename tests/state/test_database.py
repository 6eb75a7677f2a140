"""The file of a state: whose it is, and which version; one run has it."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from hangar_async.disk import Disk
from hangar_async.errors import StorageError, UsageError
from hangar_async.state import database
from hangar_async.state.database import Database, open_database

ROW = ("INSERT INTO quirk VALUES (?, ?, ?)", ("reg.example", "odd", 7))


@contextmanager
def opened(path: Path) -> Iterator[Database]:
    with ExitStack() as stack:
        yield open_database(path, Disk(), stack)


def test_a_state_outlives_its_run_in_one_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "a state?.db"
    for expected in ([], [ROW[1]]):
        with opened(path) as state:
            assert state.read("SELECT * FROM quirk") == expected
            if not expected:
                state.write([ROW])
    assert os.listdir(tmp_path) == [path.name]
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_state_that_others_may_read_is_theirs_no_more(tmp_path: Path) -> None:
    with opened(tmp_path / "x"):
        pass
    (tmp_path / "x").chmod(0o644)
    with opened(tmp_path / "x"):
        assert (tmp_path / "x").stat().st_mode & 0o777 == 0o600


def test_a_change_is_made_whole_or_not(tmp_path: Path) -> None:
    with opened(tmp_path / "x") as state:
        with pytest.raises(StorageError):
            state.write([ROW, ("INSERT INTO nothing VALUES (1)", ())])
        assert state.read("SELECT * FROM quirk") == []


def test_a_second_run_is_told_which_has_it(tmp_path: Path) -> None:
    path, name = tmp_path / "x", f"process {os.getpid()} on "
    with (
        opened(path),
        pytest.raises(UsageError, match=rf"in use by {name}\S+ since 2\S+Z: wait") as raised,
        opened(path),
    ):
        pass
    assert "\n" not in str(raised.value)
    with opened(path):
        # Not what another one may have written there.
        (tmp_path / "x.lock").write_text("\x1b[31m" + "a" * 9_000)
        with pytest.raises(UsageError, match="in use by another process: wait"), opened(path):
            pass


def test_a_run_that_ends_while_another_looks_who_has_the_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Disk, "lock", lambda self, path: None)
    with pytest.raises(UsageError, match="in use by another process: wait"), opened(tmp_path / "x"):
        pass


def test_a_file_of_another_program_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE part (x)")
    (tmp_path / "list.txt").write_text("nginx:1.27\n")
    for path in list(tmp_path.iterdir()):
        before, mode = path.read_bytes(), path.stat().st_mode
        with (
            pytest.raises(UsageError, match=f"{path.name} is no state of hangar-async: name another file"),
            opened(path),
        ):
            pass
        assert (path.read_bytes(), path.stat().st_mode) == (before, mode)


def test_an_empty_file_becomes_a_state(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    with opened(tmp_path / "x") as state:
        assert state.read("SELECT * FROM part") == []


def test_an_old_schema_is_brought_forward_and_a_newer_one_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = database.MIGRATIONS
    with opened(tmp_path / "x") as state:
        state.write([ROW])
    monkeypatch.setattr(database, "MIGRATIONS", (*old, "ALTER TABLE quirk ADD COLUMN more TEXT;"))
    for _ in range(2):
        with opened(tmp_path / "x") as state:
            assert state.read("SELECT * FROM quirk") == [(*ROW[1], None)]
    monkeypatch.setattr(database, "MIGRATIONS", old)
    newer = rf"of a newer hangar-async \(schema {len(old) + 1}, and this one knows {len(old)}\): use that one"
    with pytest.raises(UsageError, match=newer), opened(tmp_path / "x"):
        pass


def test_a_state_of_the_first_schema_gets_the_later_tables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = "SELECT name FROM sqlite_master WHERE type = 'table'"
    all_of_them = database.MIGRATIONS
    monkeypatch.setattr(database, "MIGRATIONS", all_of_them[:1])
    with opened(tmp_path / "x") as state:
        state.write([ROW])
        assert {name for (name,) in state.read(tables)} == {"part", "holder", "upload", "quirk"}
    monkeypatch.setattr(database, "MIGRATIONS", all_of_them)
    with opened(tmp_path / "x") as state:
        assert {name for (name,) in state.read(tables)} >= {"put", "created", "asked"}
        assert state.read("SELECT * FROM quirk") == [ROW[1]]


def test_a_migration_that_fails_leaves_the_state_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(tmp_path / "x") as state:
        state.write([ROW])
    before = (tmp_path / "x").read_bytes()
    broken = (*database.MIGRATIONS, "DROP TABLE quirk; DROP TABLE nothing;")
    monkeypatch.setattr(database, "MIGRATIONS", broken)
    with pytest.raises(StorageError), opened(tmp_path / "x"):
        pass
    assert (tmp_path / "x").read_bytes() == before


def test_what_the_system_refuses_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot open"), opened(tmp_path / "none" / "x"):
        pass


def test_damage_is_told_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "x"
    with opened(path):
        pass
    whole = path.read_bytes()
    path.write_bytes(whole[:100] + b"\xff" * (len(whole) - 100))
    with pytest.raises(StorageError, match="is damaged") as raised, opened(path) as state:
        state.read("SELECT * FROM quirk")
    assert raised.value.advice.startswith("remove it")
    assert "\n" not in str(raised.value)


def test_a_file_that_another_program_holds_is_no_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_PATIENCE", 0.0)
    path = tmp_path / "x"
    with opened(path) as state, closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StorageError, match=r"cannot use the state .*: database is locked"):
            state.write([ROW])
