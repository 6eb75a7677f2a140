"""The file of a state: a database of SQLite with a schema number, and the lock of the one run that has it.

SQLite writes its file by itself, which is why this is no part of `disk`; the new file, its mode and the lock are. Its
journal is the one that rolls back, not WAL: one run writes, a little now and then, and nothing reads beside it. So the
state is one file between two runs, may be copied then, and may lie on a network file system. All calls are synchronous,
for a thread, one at a time.
"""

import os
import re
import socket
import sqlite3
import time
from collections.abc import Iterable, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias
from urllib.parse import quote

from hangar_async.disk import Disk, Failing
from hangar_async.errors import StorageError, UsageError

#: The mark of our files in the header of SQLite: "Hang".
APPLICATION = 0x48616E67
#: Each brings a file to the next schema number, which begins with 1; none is ever changed.
MIGRATIONS = (
    """
    CREATE TABLE part (
        source TEXT NOT NULL, platforms TEXT NOT NULL, digest TEXT NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (source, platforms, digest)
    ) WITHOUT ROWID;
    CREATE TABLE holder (
        registry TEXT NOT NULL, digest TEXT NOT NULL, repository TEXT NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (registry, digest, repository)
    ) WITHOUT ROWID;
    CREATE TABLE upload (
        registry TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL, address TEXT NOT NULL,
        offset INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (registry, repository, digest)
    ) WITHOUT ROWID;
    CREATE TABLE quirk (
        registry TEXT NOT NULL, name TEXT NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (registry, name)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE put (
        registry TEXT NOT NULL, repository TEXT NOT NULL, tag TEXT NOT NULL, digest TEXT NOT NULL,
        job TEXT NOT NULL, source TEXT NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (registry, repository, tag)
    ) WITHOUT ROWID;
    CREATE TABLE created (
        digest TEXT NOT NULL PRIMARY KEY, time TEXT NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE asked (
        registry TEXT NOT NULL, repository TEXT NOT NULL, digest TEXT NOT NULL,
        first INTEGER NOT NULL, seen INTEGER NOT NULL,
        PRIMARY KEY (registry, repository, digest)
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE start (job TEXT NOT NULL PRIMARY KEY, seen INTEGER NOT NULL) WITHOUT ROWID;
    """,
)
#: A statement of SQL with its values.
Statement: TypeAlias = tuple[str, Sequence[str | int]]
_MAGIC = b"SQLite format 3\0"
#: Where the header has the mark, in four bytes. Source: "Database File Format" of SQLite.
_MARK = slice(68, 72)
#: Seconds to wait for another program that looks into the file.
_PATIENCE = 1.0
_HOLDER = re.compile(r"process [0-9]{1,10} on \S{1,255} since [0-9T:-]{1,30}Z")
_OTHER = "name another file (--state)"


class _Asking:
    """Turns an error of SQLite, in its block, into a StorageError."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Raise the StorageError for an error of SQLite."""
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_ERROR) & 0xFF
        if isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR:
            advice = "make room or correct the permissions; without the state a run asks more"
            raise StorageError(
                f"cannot use the state {self._path}: {error}", path=str(self._path), advice=advice
            ) from error
        if isinstance(error, sqlite3.Error):
            advice = "remove it: a run without it asks more, and copies the same"
            message = f"the state {self._path} is damaged: {error}"
            raise StorageError(message, path=str(self._path), advice=advice) from error


class Database:
    """An open state; the caller closes it. Made by `open_database`."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self._path = path
        self._connection = connection

    def read(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        """Return the rows of a query; raises StorageError."""
        with _Asking(self._path), closing(self._connection.execute(query, values)) as cursor:
            return cursor.fetchall()

    def write(self, statements: Iterable[Statement]) -> None:
        """Change the state by all of the statements, or by none; raises StorageError."""
        with _Asking(self._path), self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            for sql, values in statements:
                self._connection.execute(sql, values)


def open_database(path: Path, disk: Disk, stack: ExitStack) -> Database:
    """Open a state, made where it is not there, and bring it to the schema of this version; `stack` closes it.

    Raises UsageError where another run has it, it is of a newer version or another program, or the system refuses it;
    StorageError where it is damaged, or SQLite cannot use it.
    """
    try:
        _lock(path, disk, stack)
        _make(path, disk)
    except StorageError as error:
        raise UsageError(str(error), advice=error.advice) from error
    with _Asking(path):
        address = f"file:{quote(os.fsencode(path.absolute()))}?mode=rw"
        connection = sqlite3.connect(
            address, uri=True, timeout=_PATIENCE, isolation_level=None, check_same_thread=False
        )
        stack.callback(connection.close)
        connection.execute("PRAGMA journal_mode = DELETE")
        connection.execute("PRAGMA synchronous = NORMAL")
        _migrate(path, connection)
    return Database(path, connection)


def _lock(path: Path, disk: Disk, stack: ExitStack) -> None:
    """Lock the file beside the state that names the run; raises UsageError where another run has it."""
    place = path.with_name(f"{path.name}.lock")
    lock = disk.lock(place)
    if lock is None:
        holder = ""
        # The other run may end now, and remove it.
        with suppress(OSError), place.open(errors="replace") as file:
            holder = file.readline(400).strip()
        holder = holder if _HOLDER.fullmatch(holder) else "another process"
        raise UsageError(f"the state {path} is in use by {holder}: wait for it, or {_OTHER}")
    stack.callback(disk.release, lock)
    # Under the lock: the next run locks a file that has this name.
    stack.callback(disk.remove, place)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    disk.truncate(lock, place)
    disk.write(lock, f"process {os.getpid()} on {socket.gethostname()} since {since}\n".encode(), place)


def _make(path: Path, disk: Disk) -> None:
    """Make the file where it is not there; raises UsageError for one that is no state, before SQLite looks at it."""
    if not os.path.lexists(path):
        disk.close(disk.create(path, mode=0o600), path)
    with Failing("read", path), path.open("rb") as file:
        header = file.read(100)
    if header and not (header.startswith(_MAGIC) and header[_MARK] == APPLICATION.to_bytes(4, "big")):
        raise UsageError(f"{path} is no state of hangar-async: {_OTHER}, or remove it if it was one")
    if path.stat().st_mode & 0o077:
        # The address of an upload session is as good as a password for it.
        disk.restrict(path, 0o600)


def _migrate(path: Path, connection: sqlite3.Connection) -> None:
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise UsageError(
            f"the state {path} is of a newer hangar-async (schema {version}, and this one knows {len(MIGRATIONS)}): "
            f"use that one, or {_OTHER}"
        )
    for number, script in enumerate(MIGRATIONS[version:], version + 1):
        marks = f"PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {number};"
        connection.executescript(f"BEGIN IMMEDIATE; {script} {marks} COMMIT;")
