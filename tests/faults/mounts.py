"""File systems of a kind, made in a file and mounted; a test is skipped, in CI too, where that is not possible."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

#: The smallest that XFS makes; the file has holes.
_SIZE = 320 << 20
PROGRAMS = {
    "ext4": ("mkfs.ext4", "-q"),
    "xfs": ("mkfs.xfs", "-q"),
    "btrfs": ("mkfs.btrfs", "-q"),
    "vfat": ("mkfs.vfat",),
    "exfat": ("mkfs.exfat",),
    "tmpfs": (),
}


def _tried(kind: str, *argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"{kind} is not here: {argv[0]}: {' '.join((done.stderr or done.stdout).split())}")


@contextmanager
def mounting(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make and mount file systems of a kind during the block."""
    mounted: list[Path] = []

    def mount(kind: str) -> Path:
        place, device = tmp_path / kind, tmp_path / f"{kind}.img"
        place.mkdir()
        if not PROGRAMS[kind]:
            _tried(kind, "mount", "-t", kind, "-o", f"size={_SIZE}", kind, str(place))
        else:
            program, *flags = PROGRAMS[kind]
            if shutil.which(program) is None:
                pytest.skip(f"{kind} is not here: {program} is missing")
            with device.open("wb") as file:
                file.truncate(_SIZE)
            _tried(kind, program, *flags, str(device))
            _tried(kind, "mount", "-t", kind, "-o", "loop", str(device), str(place))
        mounted.append(place)
        return place

    try:
        yield mount
    finally:
        for place in mounted:
            subprocess.run(["umount", "--lazy", str(place)], check=True)
