"""The hints of a state: what a run has learned that saves requests to the next one; and the tags that jobs have put."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hangar_async.disk import Disk
from hangar_async.errors import InvalidValue, StorageError
from hangar_async.oci import Descriptor, Digest, Reference
from hangar_async.threads import in_thread

if TYPE_CHECKING:
    from hangar_async.state.database import Database, Statement

#: The sessions of larger uploads are kept, in bytes.
LARGE = 256 << 20
_DAY = 24 * 3600
#: Seconds for which hints are kept that were not used, and sessions: docker-registry removes these after a week.
AGE, SESSION_AGE = 30 * _DAY, 7 * _DAY
#: Seconds after which referrers are asked for again. A digest that was seen first within them is young: signatures
#: often come soon after an image.
REFERRERS_AGE = _DAY
#: Changes that wait for the next one.
_MOST_PENDING = 200
_OLD = (
    ("DELETE FROM part WHERE seen < ? OR seen > ?", AGE),
    ("DELETE FROM asked WHERE seen < ? OR seen > ?", AGE),
    ("DELETE FROM holder WHERE seen < ? OR seen > ?", AGE),
    ("DELETE FROM quirk WHERE seen < ? OR seen > ?", AGE),
    ("DELETE FROM upload WHERE seen < ? OR seen > ?", SESSION_AGE),
)


@dataclass(frozen=True, slots=True)
class PutTag:
    """A tag that a job has put: its name at the target, the digest that it was given, and the name of its source."""

    target: Reference
    digest: Digest
    source: str


class State:
    """The hints of earlier runs. All of them may be wrong, or gone: the answer of a registry corrects them.

    The tags that jobs have put are no hints: nothing else says whose a tag is. One that is forgotten has no owner.

    Without a database, as where none is wanted, nothing is known and nothing is kept. So it is from a failure of the
    database on, which is told once. Made by `opened`, but for `NO_STATE`.
    """

    def __init__(
        self,
        database: Database | None = None,
        notice: Callable[[str], None] = lambda _: None,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._notice = notice
        self._wall = wall
        #: Changes that are not written yet. One write takes all that have come while the one before it ran.
        self._pending: list[Statement] = []
        self._lock = asyncio.Lock()
        self._quirks: set[tuple[str, str]] = set()
        self._asked: dict[tuple[str, str], dict[str, tuple[int, int]]] = {}
        self._asking = asyncio.Lock()
        #: The addresses of upload sessions, by registry, repository and digest.
        self._sessions: dict[tuple[str, str, str], str] = {}

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, path: Path | None, disk: Disk, notice: Callable[[str], None], wall: Callable[[], float] = time.time
    ) -> AsyncIterator[State]:
        """Open the state in a file, made where it is not there, or none; it is closed at the end of the block.

        One that is damaged is told, and left out. Raises UsageError for one that is not ours, of a newer version, or in
        use by another run.
        """
        if path is None:
            yield NO_STATE
            return
        # Imported late: most runs need no database.
        from hangar_async.state.database import open_database

        stack, state = ExitStack(), cls(None, notice, wall)
        try:
            try:
                # What was opened is on the stack before the thread ends: a cancellation here must close it too.
                state._database = await in_thread(open_database, path, disk, stack)
                await state._load()
            except StorageError as error:
                state._give_up(error)
            yield state
        finally:
            await state._close(stack)

    async def _close(self, stack: ExitStack) -> None:
        await self._write()
        try:
            await in_thread(stack.close)
        except StorageError as error:
            self._give_up(error)

    async def _load(self) -> None:
        """Read the hints that are kept in memory, and remove those that are too old, or of a time to come."""
        now = int(self._wall())
        await self._write(*((sql, (now - age, now + _DAY)) for sql, age in _OLD))
        self._quirks = {(registry, name) for registry, name in await self._read("SELECT registry, name FROM quirk")}
        rows = await self._read("SELECT registry, repository, digest, CAST(address AS TEXT) FROM upload")
        self._sessions = {(registry, repository, digest): address for registry, repository, digest, address in rows}

    async def has_part(self, source: Digest, platforms: str, digest: Digest) -> bool:
        """Tell whether an index is known to be a part of the index `source` that has these platforms."""
        query = "SELECT seen < ? FROM part WHERE source = ? AND platforms = ? AND digest = ?"
        rows = await self._read(query, int(self._wall()) - _DAY, str(source), platforms, str(digest))
        if rows and rows[0][0]:
            await self.note_part(source, platforms, digest)
        return bool(rows)

    async def note_part(self, source: Digest, platforms: str, digest: Digest) -> None:
        """Note that an index is a part of the index `source` that has these platforms."""
        values = str(source), platforms, str(digest), int(self._wall())
        await self._write(("INSERT OR REPLACE INTO part VALUES (?, ?, ?, ?)", values))

    async def holder(self, image: Reference, blob: Descriptor) -> str | None:
        """Return the other repository of the registry that got a blob last; None where none is known."""
        query = "SELECT repository FROM holder WHERE registry = ? AND digest = ? AND repository != ? ORDER BY seen DESC"
        rows = await self._read(f"{query} LIMIT 1", image.registry, str(blob.digest), image.repository)
        return str(rows[0][0]) if rows else None

    async def note_holder(self, image: Reference, blob: Descriptor) -> None:
        """Note that the repository of an image has got a blob."""
        await self._write(self._holding(image, blob))

    def _holding(self, image: Reference, blob: Descriptor) -> Statement:
        values = image.registry, str(blob.digest), image.repository, int(self._wall())
        return "INSERT OR REPLACE INTO holder VALUES (?, ?, ?, ?)", values

    @property
    def is_kept(self) -> bool:
        """True when there is a file, and it works."""
        return self._database is not None

    async def note_put(self, job: str, target: Reference, digest: Digest, source: str) -> None:
        """Note that a job has put a tag, so that it owns the tag."""
        values = target.registry, target.repository, target.tag or "", str(digest), job, source, int(self._wall())
        await self._write(("INSERT OR REPLACE INTO put VALUES (?, ?, ?, ?, ?, ?, ?)", values))

    async def forget_put(self, target: Reference) -> None:
        """Note that a tag has no owner."""
        values = target.registry, target.repository, target.tag or ""
        await self._write(("DELETE FROM put WHERE registry = ? AND repository = ? AND tag = ?", values))

    async def put_by(self, job: str) -> list[PutTag]:
        """Return the tags that a job owns, in the order of their names; one that cannot be read has no owner."""
        query = "SELECT registry, repository, tag, digest, source FROM put WHERE job = ?"
        found = []
        for registry, repository, tag, digest, source in await self._read(query, job):
            with suppress(InvalidValue, TypeError):
                Reference.parse(source)
                found.append(PutTag(Reference(registry, repository, tag), Digest.parse(digest), source))
        return found

    async def created(self, digest: Digest) -> tuple[bool, datetime | None]:
        """Tell whether it is known when an image was created, and the time, None for an image that does not tell."""
        rows = await self._read("SELECT time FROM created WHERE digest = ?", str(digest))
        try:
            time = datetime.fromisoformat(rows[0][0]) if rows and rows[0][0] else None
        except (ValueError, TypeError):
            return False, None
        # One without a zone was not written here.
        is_known = bool(rows) and (time is None or time.tzinfo is not None)
        return is_known, time if is_known else None

    async def note_created(self, digest: Digest, time: datetime | None) -> None:
        """Note when an image was created: that never changes."""
        values = str(digest), "" if time is None else time.isoformat()
        await self._write_later(("INSERT OR REPLACE INTO created VALUES (?, ?)", values))

    async def is_asked(self, target: Reference, digest: Digest) -> bool:
        """Tell whether the referrers of a digest at a target need not be asked for: they were, and it is not young."""
        times, due = (await self._asked_at(target)).get(str(digest)), self._wall() - REFERRERS_AGE
        return times is not None and times[0] <= due < times[1]

    async def note_asked(self, target: Reference, digest: Digest) -> None:
        """Note that the referrers of a digest were asked for, and brought to a target."""
        now, times = int(self._wall()), await self._asked_at(target)
        times[str(digest)] = (times.get(str(digest), (now,))[0], now)
        sql = "INSERT INTO asked VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seen = excluded.seen"
        await self._write_later((sql, (target.registry, target.repository, str(digest), now, now)))

    async def _asked_at(self, target: Reference) -> dict[str, tuple[int, int]]:
        """Return when the digests of a repository were seen first, and asked for last: read once, for all of them."""
        key = target.registry, target.repository
        if key not in self._asked:
            async with self._asking:
                if key not in self._asked:
                    query = (
                        "SELECT digest, CAST(first AS INTEGER), CAST(seen AS INTEGER) FROM asked "
                        "WHERE registry = ? AND repository = ?"
                    )
                    rows = await self._read(query, *key)
                    self._asked[key] = {digest: (first, seen) for digest, first, seen in rows}
        return self._asked[key]

    def has_quirk(self, registry: str, name: str) -> bool:
        """Tell whether a registry had a quirk when it was met last."""
        return (registry, name) in self._quirks

    async def note_quirk(self, registry: str, name: str) -> None:
        """Note that a registry has a quirk."""
        await self._write(("INSERT OR REPLACE INTO quirk VALUES (?, ?, ?)", (registry, name, int(self._wall()))))

    async def forget_quirk(self, registry: str, name: str) -> None:
        """Note that a registry does not have a quirk any more."""
        if (registry, name) in self._quirks:
            self._quirks.remove((registry, name))
            await self._write(("DELETE FROM quirk WHERE registry = ? AND name = ?", (registry, name)))

    def session(self, image: Reference, blob: Descriptor) -> str:
        """Return the address of the session in which a blob was on its way to a repository, "" for none."""
        return self._sessions.get(_key(image, blob), "")

    def begun_in(self, image: Reference, blob: Descriptor, repositories: Collection[str]) -> str | None:
        """Return the repository to which a blob was on its way: that of the image, or one of others; None for none."""
        own = _key(image, blob)
        begun = [key[1] for key in self._sessions if key[::2] == own[::2]]
        return next((one for one in (image.repository, *repositories) if one in begun), None) if begun else None

    async def note_session(self, image: Reference, blob: Descriptor, address: str, offset: int) -> None:
        """Note the session in which a large blob is on its way, and the byte that it has reached."""
        if self._database is None or blob.size <= LARGE:
            return
        self._sessions[_key(image, blob)] = address
        values = *_key(image, blob), address, offset, int(self._wall())
        await self._write(("INSERT OR REPLACE INTO upload VALUES (?, ?, ?, ?, ?, ?)", values))

    async def forget_session(self, image: Reference, blob: Descriptor, *, is_there: bool = False) -> None:
        """Forget the session of a blob; one that is there instead has its place noted by the same change."""
        if self._sessions.pop(key := _key(image, blob), None) is None:
            return
        forget = ("DELETE FROM upload WHERE registry = ? AND repository = ? AND digest = ?", key)
        await self._write(forget, *([self._holding(image, blob)] if is_there else []))

    async def _read(self, query: str, *values: str | int) -> list[tuple[Any, ...]]:
        async with self._using() as database:
            return [] if database is None else await in_thread(database.read, query, *values)
        return []

    async def _write(self, *statements: Statement) -> None:
        if self._database is None:
            return
        self._pending += statements
        async with self._using() as database:
            pending, self._pending = self._pending, []
            if database is not None and pending:
                await in_thread(database.write, pending)

    async def _write_later(self, statement: Statement) -> None:
        """Write with the next change, or with others like it: lost, these cost a request each."""
        if self._database is not None:
            self._pending.append(statement)
            if len(self._pending) >= _MOST_PENDING:
                await self._write()

    @asynccontextmanager
    async def _using(self) -> AsyncIterator[Database | None]:
        """Give the database, where there is one, to one caller at a time; its failure is the end of it."""
        async with self._lock:
            try:
                yield self._database
            except StorageError as error:
                self._give_up(error)

    def _give_up(self, error: StorageError) -> None:
        self._database = None
        self._sessions.clear()
        self._notice(f"{error}; this run goes on without it: {error.advice}")


def _key(image: Reference, blob: Descriptor) -> tuple[str, str, str]:
    return image.registry, image.repository, str(blob.digest)


#: The state of a run that keeps none.
NO_STATE = State()
