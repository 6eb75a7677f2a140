"""Let a save die at each operation of the disk in turn, and run the same save again.

    python -m tests.faults.deaths DIRECTORY OLD_IMAGE NEW_IMAGE

Prints the number of deaths. Each save is a process of its own, forked before any thread exists. Raises AssertionError
where an archive is lost, or the next save does not make all as it should be.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import itertools
import os
import shutil
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hangar_async.disk import Disk
from hangar_async.engine.save import save
from tests.engine.rig import options
from tests.fakes.faulty_disk import OPERATIONS
from tests.faults.rig import archive_content

DEAD = 77
NAME = "out.tar.gz"


def die_at(number: int) -> None:
    """End this process at an operation of the disk, without any cleanup."""
    counter, lock = itertools.count(1), threading.Lock()

    def watched(operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def run(*arguments: Any, **keywords: Any) -> Any:
            with lock:
                if next(counter) == number:
                    os._exit(DEAD)
            return operation(*arguments, **keywords)

        return run

    for name in (*OPERATIONS, "remove", "reopen"):
        setattr(Disk, name, watched(getattr(Disk, name)))


def run_save(place: Path, image: str, death: int = 0) -> int:
    """Save in a process of its own, and return its exit status."""
    process = os.fork()
    if not process:
        status = 1
        try:
            if death:
                die_at(death)
            wanted = options(place, image, format="gzip", destination=place / NAME, cache=place / "cache")
            status = asyncio.run(save(wanted)).status
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def is_listed(place: Path) -> bool:
    """Tell whether the list of digests is that of the archive."""
    digest = hashlib.sha256((place / NAME).read_bytes()).hexdigest()
    return (place / f"{NAME}.sha256").read_text() == f"{digest}  {NAME}\n"


def main() -> None:
    root, old_image, new_image = Path(sys.argv[1]), *sys.argv[2:]
    start, calm = root / "start", root / "calm"
    start.mkdir()
    assert run_save(start, old_image) == 0
    shutil.copytree(start, calm, symlinks=True)
    assert run_save(calm, new_image) == 0
    old, new = archive_content(start / NAME), archive_content(calm / NAME)
    assert old != new
    for death in itertools.count(1):
        place = root / f"death{death}"
        shutil.copytree(start, place, symlinks=True)
        status = run_save(place, new_image, death)
        assert status in (0, DEAD), f"death {death}: {status}"
        assert archive_content(place / NAME) in (old, new), f"death {death}"
        assert run_save(place, new_image) == 0, f"after death {death}"
        assert (archive_content(place / NAME), is_listed(place)) == (new, True), f"after death {death}"
        assert not [path.name for path in place.iterdir() if path.name.startswith(".")], f"after death {death}"
        shutil.rmtree(place)
        if not status:
            print(death - 1)  # noqa: T201 - a command
            return


if __name__ == "__main__":
    main()
