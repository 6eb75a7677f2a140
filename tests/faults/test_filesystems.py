"""Real file systems: a save over an earlier archive dies between the last operations, and the next one makes all whole.

A file system without a program that makes it, or a kernel that mounts it, is skipped, in CI too.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from hangar_async.threads import in_thread
from tests.fakes.programs import run
from tests.faults.commands import Scene

#: The smallest that XFS makes; the file has holes.
_SIZE = 320 << 20
_PROGRAMS = {
    "ext4": ("mkfs.ext4", "-q"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "vfat": ("mkfs.vfat",),
    "exfat": ("mkfs.exfat",),
    "tmpfs": (),
}
#: The last operations, those of the commit; more of them with `make crash`.
_LAST = "25" if "CRASHES" in os.environ else "8"

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="file systems are mounted on Linux alone")


def _tried(kind: str, *argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{kind} is not here: {argv[0]}: {' '.join((done.stderr or done.stdout).split())}")


@pytest.fixture
def file_system(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Makes and mounts a file system of a kind; skipped where that is not possible."""
    mounted: list[Path] = []

    def mount(kind: str) -> Path:
        place, device = tmp_path / kind, tmp_path / f"{kind}.img"
        place.mkdir()
        if not _PROGRAMS[kind]:
            _tried(kind, "mount", "-t", kind, "-o", f"size={_SIZE}", kind, str(place))
        else:
            program, *flags = _PROGRAMS[kind]
            if shutil.which(program) is None:
                pytest.skip(f"{kind} is not here: {program} is missing")
            with device.open("wb") as file:
                file.truncate(_SIZE)
            _tried(kind, program, *flags, str(device))
            _tried(kind, "mount", "-t", kind, "-o", "loop", str(device), str(place))
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def _root(mount: Callable[[], Path], shared: Path) -> Path:
    root = mount() / "root"
    root.mkdir()
    shutil.copytree(shared, root / "shared", symlinks=True)
    return root


@pytest.mark.timeout(300)
@pytest.mark.parametrize("command", ["save-gzip", "save-parts"])
@pytest.mark.parametrize("kind", _PROGRAMS)
async def test_a_save_that_dies_on_a_real_file_system_loses_nothing(
    kind: str, command: str, file_system: Callable[[str], Path], command_scene: Scene
) -> None:
    root = await in_thread(_root, partial(file_system, kind), command_scene.shared)
    environment = {"HOME": str(root), "PYTHONPATH": os.pathsep.join(sys.path)}
    program = (sys.executable, "-m", "tests.faults.deaths", str(root), command_scene.registry, command, _LAST)
    assert int(await run(*program, env=environment)) >= 3
