"""File systems of a kind, made in a file and mounted; a test is skipped, in CI too, where that is not possible."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
#: Drivers, in user space, for file systems that the kernel does not know; that of FAT wants the file, not a device.
_DRIVERS = {"vfat": ("fusefat", "-s", "-o", "rw+"), "exfat": ("mount.exfat-fuse",)}
_OF_FILES = {"vfat"}


def _tried(kind: str, *alternatives: Sequence[str]) -> str:
    """Run the first of some commands that is there and succeeds, and return its output; skip where there is none."""
    problems = []
    for argv in alternatives:
        if shutil.which(argv[0]) is None:
            problems.append(f"{argv[0]} is missing")
            continue
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if not done.returncode:
            return done.stdout.strip()
        problems.append(f"{argv[0]}: {' '.join((done.stderr or done.stdout).split())}")
    pytest.skip(f"{kind} is not here: {'; '.join(problems)}")


@contextmanager
def mounting(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """Make and mount file systems of a kind during the block."""
    undo = ExitStack()

    def mount(kind: str) -> Path:
        place, image = tmp_path / kind, tmp_path / f"{kind}.img"
        place.mkdir()
        if not PROGRAMS[kind]:
            _tried(kind, ("mount", "-t", kind, "-o", f"size={_SIZE}", kind, str(place)))
        else:
            with image.open("wb") as file:
                file.truncate(_SIZE)
            _tried(kind, (*PROGRAMS[kind], str(image)))
            device = _tried(kind, ("losetup", "--find", "--show", str(image)))
            undo.callback(subprocess.run, ["losetup", "--detach", device], check=True)
            source = str(image) if kind in _OF_FILES else device
            drivers = [(*_DRIVERS[kind], source, str(place))] if kind in _DRIVERS else []
            _tried(kind, ("mount", "-t", kind, device, str(place)), *drivers)
        undo.callback(subprocess.run, ["umount", "--lazy", str(place)], check=True)
        return place

    with undo:
        yield mount
