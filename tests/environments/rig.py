"""The program as a real process in an environment of its own, with all of its work against a registry of the test."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

import pytest

from tests.cli.programs import environment
from tests.cli.site import Done
from tests.fakes.registry import FakeRegistry

ROOT = Path(__file__).resolve().parents[2]
LIST = "list.txt"
_USER = 54_321


def shell(script: str) -> tuple[str, ...]:
    """The words before a command line that is run after a script of the shell."""
    return "sh", "-c", f'{script}\nexec "$@"', "sh"


def as_user(number: int = _USER) -> tuple[str, ...]:
    """The words before a command line that a user without a name runs."""
    return "setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"


def need(*words: str) -> None:
    """Skip the test where this command does not run, and name it."""
    if shutil.which(words[0]) is None or subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip(f"this does not run here: {' '.join(words)}")


@cache
def python_for(before: tuple[str, ...]) -> str:
    """Name a Python of this version that runs after these words: another user may not reach the one of the tests."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for path in (sys.executable, f"/usr/bin/python{version}", f"/usr/local/bin/python{version}"):
        # Through another program: the rights that a user is losing still count for the first one.
        words = [*before, "env", path, "-c", "import aiohttp"]
        if not subprocess.run(words, env=_paths(), capture_output=True, check=False).returncode:
            return path
    pytest.skip(f"no Python {version} runs here: {' '.join(before)}")


def _paths() -> dict[str, str]:
    paths = (str(ROOT), sysconfig.get_path("purelib"))
    return {"PYTHONPATH": os.pathsep.join(paths), "PYTHONDONTWRITEBYTECODE": "1", "PATH": os.environ["PATH"]}


@dataclass(frozen=True)
class Machine:
    """A directory with a list of two images, and the way in which the program is started in it."""

    home: Path
    registry: FakeRegistry
    before: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    start: tuple[str, ...] = ("-m", "hangar_async")
    archive: str = "out.tar.gz"
    mirror: str = "mirror"
    images: str = LIST
    python: str = sys.executable
    #: Commands at the same time.
    jobs: int = 2

    def with_(self, **changes: object) -> Machine:
        """The same machine, started in another way."""
        return replace(self, **changes)  # type: ignore[arg-type]

    def command(self, *words: str) -> list[str]:
        """The words of a command line."""
        return [*self.before, self.python, *self.start, *words]

    async def run(self, *words: str, stdin: int = -3, stdout: int = -1, stderr: int = -1) -> Done:
        """Run a command line to its end."""
        async with self.running(*words, stdin=stdin, stdout=stdout, stderr=stderr) as process:
            out, err = await process.communicate()
        assert process.returncode is not None
        return Done(process.returncode, *((text or b"").decode(errors="replace") for text in (out, err)))

    @asynccontextmanager
    async def running(
        self, *words: str, stdin: int = -3, stdout: int = -1, stderr: int = -1
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """Run a command line during the block."""
        variables = environment(self.home, **{**_paths(), **self.env})
        process = await asyncio.create_subprocess_exec(
            *self.command(*words),
            cwd=self.home,
            # Other users, and processes without room for a thread, cannot write what coverage measures.
            env={name: value for name, value in variables.items() if not name.startswith("COVERAGE_")},
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def all_work(self, *save_flags: str, **streams: int) -> dict[str, Done]:
        """Save, sync, verify, ls and load: each ends with status 0, and what it makes is there."""
        free = asyncio.Semaphore(self.jobs)

        async def run(*words: str) -> Done:
            async with free:
                return await self.run(*words, **streams)

        first = await asyncio.gather(
            run("save", "-f", self.images, "-d", self.archive, *save_flags),
            run("sync", "-f", self.images, "-d", self.mirror),
        )
        second = await asyncio.gather(
            run("verify", self.archive),
            run("ls", self.archive),
            run("load", "-s", self.archive, "-d", f"{self.registry.address}/back"),
        )
        done = dict(zip(("save", "sync", "verify", "ls", "load"), (*first, *second), strict=True))
        failed = {name: (one.status, one.err) for name, one in done.items() if one.status}
        assert not failed, failed
        for name in ("one", "two"):
            assert self.registry.asked(f"/back/{name}/manifests/1$", "PUT")
        assert (self.home / self.mirror / "index.json").is_file()
        return done


def prepare(home: Path, registry: FakeRegistry) -> Machine:
    """Make the list of the images of a registry in a directory that every user may use."""
    home.chmod(0o777)
    (home / LIST).write_text("".join(f"{registry.address}/{name}:1\n" for name in ("one", "two")))
    return Machine(home, registry)
