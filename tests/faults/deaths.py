"""Let commands die at operations of the disk in turn, over an earlier output, and run the same command again.

    python -m tests.faults.deaths DIRECTORY REGISTRY COMMAND:LAST...

The last LAST operations that change names are tried, those on temporary files left out, and then others from the end;
all with 0. Prints the number of deaths. DIRECTORY has `shared`, what the commands read. Each command is a process of
its own, forked before any thread exists. Raises AssertionError where an output is lost, or where the next command does
not make all as it should be.
"""

from __future__ import annotations

import asyncio
import functools
import os
import pickle
import subprocess
import sys
import tempfile
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hangar_async.disk import Disk
from tests.fakes.faulty_disk import OPERATIONS
from tests.faults.commands import COMMANDS, Command, Content, Scene, leftovers

DEAD = 77


def watch_operations(death: int = 0) -> list[bool]:
    """Note of the operations of all disks whether they change names, and end this process at one of them, at once."""
    noted, lock = list[bool](), threading.Lock()

    def watched(name: str, operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def run(disk: Disk, *arguments: Any, **keywords: Any) -> Any:
            with lock:
                noted.append(name in ("rename", "keep") or (name == "remove" and arguments[0].suffix != ".tmp"))
                if len(noted) == death:
                    os._exit(DEAD)
            return operation(disk, *arguments, **keywords)

        return run

    for name in (*OPERATIONS, "remove", "reopen"):
        setattr(Disk, name, watched(name, getattr(Disk, name)))
    return noted


def in_a_process(work: Callable[[], Awaitable[object]], answer: Path) -> Any:
    """Do work in a process of its own, and return its result; DEAD where the process died as it should."""
    process = os.fork()
    if not process:
        status = 1
        try:
            answer.write_bytes(pickle.dumps(asyncio.run(work())))  # type: ignore[arg-type]
            status = 0
        except BaseException as error:
            print(repr(error), file=sys.stderr)  # noqa: T201 - a command
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert status in (0, DEAD), f"the process ended with {status}"
    return DEAD if status else pickle.loads(answer.read_bytes())  # noqa: S301 - our own


def main() -> None:
    root, registry, *commands = sys.argv[1:]
    died = 0
    for name, last in (command.split(":") for command in commands):
        place = Path(root, name)
        place.mkdir()
        died += deaths_of(COMMANDS[name], Scene(place / "start", registry, Path(root, "shared")), int(last))
    print(died)  # noqa: T201 - a command


def deaths_of(command: Command, scene: Scene, last: int) -> int:
    """Let one command die, and return how often it did."""
    # Not there: FAT in user space (fusefat) fails to write a file anew.
    root, answer = scene.place.parent, Path(tempfile.mkstemp()[1])
    command.limit_machine(setattr)

    async def run(place: Path, death: int) -> tuple[Content, list[bool]]:
        noted = watch_operations(death)
        await command.run(scene.at(place), "new")
        return await command.found(scene.at(place)), noted

    old = in_a_process(lambda: command.prepare(scene), answer)
    calm = root / "calm"
    _copy(scene.place, calm)
    new, noted = in_a_process(lambda: run(calm, 0), answer)
    names = sorted(os.listdir(calm))
    died = 0
    # Those that change names come last; with 0 all are taken.
    for death in sorted(range(1, len(noted) + 1), key=lambda number: noted[number - 1])[-last:]:
        place = root / f"death{death}"
        _copy(scene.place, place)
        died += in_a_process(functools.partial(run, place, death), answer) == DEAD
        looking = functools.partial(look, command, scene.at(place), (old, new), names)
        problem = in_a_process(looking, answer)
        assert not problem, f"death {death} of {len(noted)}: {problem}"
    answer.unlink()
    return died


def _copy(place: Path, target: Path) -> None:
    """Copy a directory without modes and times, which not all file systems have."""
    subprocess.run(["cp", "-R", str(place), str(target)], check=True)


async def look(command: Command, scene: Scene, outputs: tuple[Content, Content], names: list[str]) -> str:
    """Look at what a dead process left, and run the command again; returns the first thing that is wrong."""
    if await command.found(scene) not in outputs:
        return "the output is neither the old nor the new one"
    await command.run_again(scene)
    if await command.found(scene) != outputs[1]:
        return "the next run does not make the new output"
    left = sorted(os.listdir(scene.place))
    if left != names or leftovers(scene.place):
        return f"the next run leaves {left} and {leftovers(scene.place)}"
    return ""


if __name__ == "__main__":
    main()
