"""The public names have the types that a program sees."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import hangar_async

PROGRAM = Path(__file__).with_name("api.py")
NAMES: list[str] = getattr(hangar_async, "__all__")  # noqa: B009 - a checker knows the names by the stub


def test_a_program_that_uses_every_name_passes_strict_checks(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM.read_text())
    argv = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", "--cache-dir", str(tmp_path), str(program)]
    done = subprocess.run(argv, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_program_uses_every_name() -> None:
    used = set(re.findall(r"\bh\.(\w+)", PROGRAM.read_text()))
    assert set(NAMES) - used == set()
