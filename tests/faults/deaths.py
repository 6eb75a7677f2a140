"""Let a command die at operations of the disk in turn, over an earlier output, and run the same command again.

    python -m tests.faults.deaths DIRECTORY REGISTRY COMMAND LAST

The last LAST operations are tried, all of them with 0. Prints the number of deaths. DIRECTORY has `shared`, what the
commands read. Each command is a process of its own, forked before any thread exists. Raises AssertionError where an
output is lost, or where the next command does not make all as it should be.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import os
import pickle
import shutil
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from hangar_async.disk import Disk
from tests.fakes.faulty_disk import OPERATIONS
from tests.faults.commands import COMMANDS, Command, Content, Scene, leftovers

DEAD = 77


def count_operations(death: int = 0) -> itertools.count[int]:
    """Count the operations of all disks, and end this process at one of them, without any cleanup."""
    counter, lock = itertools.count(1), threading.Lock()

    def watched(operation: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(operation)
        def run(*arguments: Any, **keywords: Any) -> Any:
            with lock:
                if next(counter) == death:
                    os._exit(DEAD)
            return operation(*arguments, **keywords)

        return run

    for name in (*OPERATIONS, "remove", "reopen"):
        setattr(Disk, name, watched(getattr(Disk, name)))
    return counter


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
    root, registry, name, last = Path(sys.argv[1]), sys.argv[2], sys.argv[3], int(sys.argv[4])
    command, scene = COMMANDS[name], Scene(root / "start", registry, root / "shared")
    answer = root / "answer"
    command.limit_machine(setattr)

    async def run(place: Path, death: int) -> tuple[Content, int]:
        counter = count_operations(death)
        await command.run(scene.at(place), "new")
        done = next(counter) - 1
        return await command.found(scene.at(place)), done

    old = in_a_process(lambda: command.prepare(scene), answer)
    calm = root / "calm"
    _copy(scene.place, calm)
    new, operations = in_a_process(lambda: run(calm, 0), answer)
    names = sorted(os.listdir(calm))
    deaths = range(max(1, operations - last + 1) if last else 1, operations + 1)
    died = 0
    for death in deaths:
        place = root / f"death{death}"
        _copy(scene.place, place)
        died += in_a_process(functools.partial(run, place, death), answer) == DEAD
        look(command, scene.at(place), (old, new), names, answer, f"death {death} of {operations}")
        shutil.rmtree(place)
    print(died)  # noqa: T201 - a command


def _copy(place: Path, target: Path) -> None:
    """Copy a directory without modes and times, which not all file systems have."""
    subprocess.run(["cp", "-R", str(place), str(target)], check=True)


def look(
    command: Command, scene: Scene, outputs: tuple[Content, Content], names: list[str], answer: Path, moment: str
) -> None:
    """Look at what a dead process left, and run the command again."""
    found = in_a_process(lambda: command.found(scene), answer)
    assert found in outputs, f"{moment}: the output is neither the old nor the new one"
    in_a_process(lambda: command.run_again(scene), answer)
    assert in_a_process(lambda: command.found(scene), answer) == outputs[1], f"after {moment}"
    assert sorted(os.listdir(scene.place)) == names, f"after {moment}: {os.listdir(scene.place)}"
    assert leftovers(scene.place) == [], f"after {moment}"


if __name__ == "__main__":
    main()
