"""Real file systems: a save over an earlier archive dies between the last operations, and the next one makes all whole.

A file system without a program that makes it, or a kernel that mounts it, is skipped, in CI too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from hangar_async.threads import in_thread
from tests.fakes.programs import run
from tests.faults.commands import Scene
from tests.faults.mounts import PROGRAMS

#: The last operations, those of the commit; more of them with `make crash`.
_LAST = "25" if "CRASHES" in os.environ else "8"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file systems are mounted on Linux alone")


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["save-gzip", "save-parts"])
@pytest.mark.parametrize("kind", PROGRAMS)
async def test_a_save_that_dies_on_a_real_file_system_loses_nothing(
    kind: str, command: str, file_system: Callable[[str], Path], command_scene: Scene
) -> None:
    root = await in_thread(partial(file_system, kind))
    environment = {"HOME": str(root), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, "-m", "tests.faults.deaths", str(root), command_scene.registry, command, _LAST)
    assert int(await run(*program, env=environment)) >= 3
