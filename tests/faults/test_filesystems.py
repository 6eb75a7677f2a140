"""Real file systems: a save over an earlier archive dies between the last operations, and the next one makes all whole.

A file system without a program that makes it, or a kernel that mounts it, is skipped, in CI too.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hangar_async.threads import in_thread
from tests.fakes.programs import run
from tests.fakes.registry import FakeRegistry
from tests.faults.commands import add_images
from tests.faults.mounts import PROGRAMS

#: The operations that change names, from the record of the commit on, at most: some are two without hard links.
_COMMANDS = ("save-gzip:9", "save-parts:17")

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file systems are mounted on Linux alone")


#: The driver of FAT in user space may stand still, which no time limit ends.
KINDS = [kind for kind in PROGRAMS if kind != "vfat" or "CRASHES" in os.environ]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", KINDS)
async def test_a_save_that_dies_on_a_real_file_system_loses_nothing(
    kind: str, file_system: Callable[[str], Path], pushable_registry: FakeRegistry
) -> None:
    """Between any two operations of the commit; to one file over one, and to parts over more of them."""
    add_images(pushable_registry)
    root = await in_thread(file_system, kind)
    environment = {"HOME": str(root), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, "-m", "tests.faults.deaths", str(root), pushable_registry.address)
    assert int(await run(*program, *_COMMANDS, env=environment)) == 26
