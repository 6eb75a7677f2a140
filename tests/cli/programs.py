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
