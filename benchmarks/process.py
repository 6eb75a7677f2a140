"""One run of a command as a whole process: its time, its processors' time, its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

_TIME_LIMIT = 900.0
_LARGE = 1 << 16
_ZEROS = bytes(1 << 20)
_PAGE = os.sysconf("SC_PAGE_SIZE")


class RunFailed(Exception):
    """A command ended with a status that is not 0, or did not do what it is measured for."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command to measure; it starts in an empty directory of its own.

    `check` looks at that directory afterwards, outside of the measured time, and raises RunFailed. `measures` reads
    further numbers from there. `tree` samples the memory of all processes of the command together.
    """

    name: str
    argv: tuple[str, ...]
    check: Callable[[Path], None] = lambda directory: None
    measures: Callable[[Path], dict[str, float]] = lambda directory: {}
    tree: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """The cost of one run: seconds, processor seconds, MB; `peak` of its largest process, `tree_peak` of all."""

    seconds: float
    cpu: float
    peak: float
    tree_peak: float | None = None
    more: dict[str, float] = field(default_factory=dict)


def run(command: Command, directory: Path, writes: int = 0) -> Run:
    """Run a command once, in a directory that is new; nothing is left to be synced when the clock starts.

    `writes` is about how many bytes it will write: as much memory is used and freed just before, because a virtual
    machine takes back what is free for some seconds, and is slow to give it again. Large files of the runs beside it
    are emptied, but nothing is removed: ext4 is slow to make files while it remembers others that were removed within
    the last minutes. Either would be measured.
    """
    work = directory / "work"
    work.mkdir(parents=True)
    _empty(directory.parent)
    os.sync()
    _use_memory(directory.parent / "scratch", writes)
    with (directory / "output").open("wb") as output:
        began = time.monotonic()
        process = subprocess.Popen(
            command.argv, cwd=work, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
        # The limit ends the session of this one command, whose leader is not reaped yet.
        limit = threading.Timer(_TIME_LIMIT, os.killpg, (process.pid, signal.SIGKILL))
        limit.start()
        try:
            with _Sampler(process.pid, on=command.tree) as sampler:
                _, status, used = os.wait4(process.pid, 0)
                seconds = time.monotonic() - began
        except BaseException:
            os.killpg(process.pid, signal.SIGKILL)
            raise
        finally:
            limit.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        tail = (directory / "output").read_text(errors="replace")[-2000:]
        raise RunFailed(f"{command.name} ended with status {process.returncode}: {tail}")
    command.check(directory)
    peak = used.ru_maxrss * 1024 / 1e6
    tree = max(sampler.peak / 1e6, peak) if command.tree else None
    return Run(seconds, used.ru_utime + used.ru_stime, peak, tree, command.measures(directory))


def _use_memory(scratch: Path, size: int) -> None:
    with scratch.open("wb", buffering=0) as file:
        for _ in range(0, size, len(_ZEROS)):
            file.write(_ZEROS)
        file.truncate(0)


def _empty(directory: Path) -> None:
    for path in directory.rglob("*"):
        if path.is_file() and not path.is_symlink() and path.stat().st_size > _LARGE:
            os.truncate(path, 0)


class _Sampler:
    """Looks every 20 ms how much memory the processes of a session hold together; shared pages count once each."""

    def __init__(self, session: int, *, on: bool) -> None:
        self._session = session
        self._on = on
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.peak = 0

    def __enter__(self) -> _Sampler:
        if self._on:
            self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        if self._on:
            self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.02):
            self.peak = max(
                self.peak, sum(self._resident(path) for path in Path("/proc").iterdir() if path.name.isdigit())
            )

    def _resident(self, process: Path) -> int:
        try:
            fields = (process / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0
        return int(fields[21]) * _PAGE if int(fields[3]) == self._session else 0
