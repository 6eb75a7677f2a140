"""The program as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

#: A proxy or credentials of the machine must not reach the tests.
_LEFT_OUT = ("PROXY", "SOURCE_", "DEST_", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_")


def environment(home: Path, **more: str) -> dict[str, str]:
    """The environment of a process that has `home` to itself."""
    kept = {name: value for name, value in os.environ.items() if not any(part in name.upper() for part in _LEFT_OUT)}
    return {**kept, "HOME": str(home), **more}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "hangar_async", *arguments]


#: The program with pauses of no length before it asks again.
WITHOUT_PAUSES = """
import sys
from functools import partial
from hangar_async.cli import main
from hangar_async.config import environment, registries
retry = registries.RetryPolicy(first=0.0, longest=0.0, outage_pauses=(0.0,))
environment.RegistrySettings = partial(registries.RegistrySettings, retry=retry)
main.run(sys.argv[1:])
"""


def run(
    home: Path, *arguments: str, env: Mapping[str, str] | None = None, given: bytes = b""
) -> subprocess.CompletedProcess[str]:
    """Run the program in `home` to its end."""
    done = subprocess.run(
        command(*arguments),
        cwd=home,
        env=environment(home, **(env or {})),
        input=given,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())
