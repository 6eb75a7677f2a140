"""The last starts of standing jobs, in the file of a state. Lost, they cost a run that was not due."""

from contextlib import ExitStack
from pathlib import Path

from hangar_async.disk import Disk
from hangar_async.state.database import open_database


def read_starts(path: Path, disk: Disk) -> dict[str, float]:
    """Return the last start of each job, in seconds since 1970. Synchronous, for a thread; raises as a state does."""
    with ExitStack() as stack:
        rows = open_database(path, disk, stack).read("SELECT job, CAST(seen AS INTEGER) FROM start")
    return {str(job): float(seen) for job, seen in rows}


def note_start(path: Path, disk: Disk, job: str, time: float) -> None:
    """Note the start of a job. Synchronous, for a thread; raises as a state does."""
    with ExitStack() as stack:
        database = open_database(path, disk, stack)
        database.write([("INSERT OR REPLACE INTO start VALUES (?, ?)", (job, int(time)))])
