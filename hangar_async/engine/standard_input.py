"""Standard input as a source: a source is read more than once, so that it goes to a temporary file first."""

import os
import select
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import gettempdir

from hangar_async.archive.names import STANDARD_INPUT_FILE
from hangar_async.disk import Disk
from hangar_async.engine.outputs import temporary_directory
from hangar_async.errors import StorageError, UsageError
from hangar_async.oci import PIECE
from hangar_async.threads import Interrupt

#: The path that stands for it.
STANDARD_INPUT = Path("-")
#: The seconds after which a reading that waits looks for an interruption.
_INTERVAL = 0.2


@asynccontextmanager
async def source_path(source: Path, directory: Path | None = None) -> AsyncIterator[Path]:
    """Return the path of a source for the block: itself, or of `-` a copy of standard input below a directory.

    None is the system's temporary directory. Raises UsageError where standard input is closed or empty, StorageError.
    """
    if source != STANDARD_INPUT:
        yield source
        return
    disk, interrupt = Disk(), Interrupt()
    async with temporary_directory(directory or Path(gettempdir()), "input", disk) as temporary:
        path = temporary / STANDARD_INPUT_FILE
        await interrupt.in_thread(_copy, path, disk, interrupt)
        yield path


def _copy(path: Path, disk: Disk, check_interrupted: Callable[[], None]) -> None:
    if sys.stdin is None or sys.stdin.closed:
        raise UsageError("standard input is closed, and - reads it: name an archive, or send one through a pipe")
    source, size = sys.stdin.fileno(), 0
    target = disk.create(path)
    try:
        while True:
            # A pipe may be silent for long; a regular file is always ready.
            while not select.select([source], [], [], _INTERVAL)[0]:
                check_interrupted()
            check_interrupted()
            try:
                piece = os.read(source, PIECE)
            except OSError as error:
                raise StorageError.of(error, "standard input", "read") from error
            if not piece:
                break
            disk.write(target, piece, path)
            size += len(piece)
    finally:
        disk.close(target, path)
    if not size:
        raise UsageError("standard input is empty, and - reads it: what sends the archive may have failed")
