"""A save that is killed again and again: nothing is lost, and nothing wrong is ever made of what was left."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from hangar_async.testing.images import image, index, layer
from tests.fakes.images import AMD64, ARM64
from tests.fakes.programs import run
from tests.fakes.push import push
from tests.fakes.relay import Relay, relay
from tests.faults.commands import COMMANDS, Scene
from tests.faults.rig import check_cache

#: Fewer than by hand.
KILLS = 50 if "CRASHES" in os.environ else 24
#: The last ones meet the runs that have everything, and write the archive.
LATE_KILLS = 8
JOBS = 4
MIB = 1 << 20
ARCHIVE = "out.tar.gz"


async def fill(registry: str) -> int:
    """Push three images that share layers of different sizes; returns how many bytes their blobs have."""
    source = random.Random(4)
    sizes = [9_000_000, 5_000_000, 3_000_000, 1_000_000, 300_000, 5_000]
    layers = [layer({f"{number}": source.randbytes(size)}, "none") for number, size in enumerate(sizes * 2)]
    size = sum(len(one.data) for one in layers)
    for number in range(3):
        own = layers[number * 3 : number * 3 + 6]
        pair = [image(own, one, labels={"number": str(number)}) for one in (AMD64, ARM64)]
        await push(registry, f"crash/app{number}:1", index(pair))
    return size


async def start(place: Path) -> asyncio.subprocess.Process:
    environment = {**os.environ, "HOME": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "hangar_async", "save", "-f", "list.txt", "-d", ARCHIVE, "-j", str(JOBS), "--quiet"),
        *("--part", "--part-size", "7M"),
        cwd=place,
        env=environment,
    )


async def killed(place: Path, line: Relay, moment: float, *, by_bytes: bool) -> int | None:
    """Run until a moment, after so many bytes or seconds, and kill; returns the status of one that was faster."""
    process = await start(place)
    ended = asyncio.ensure_future(process.wait())
    reached = asyncio.ensure_future(line.carries(line.carried + int(moment)) if by_bytes else asyncio.sleep(moment))
    await asyncio.wait({ended, reached}, return_when=asyncio.FIRST_COMPLETED)
    reached.cancel()
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    status = await ended
    return None if status == -signal.SIGKILL else status


def bytes_in(cache: Path) -> int:
    """Count what is kept of blobs, whole or in part."""
    return sum(path.stat().st_size for path in cache.glob("share/sha256/[0-9a-f]*")) + sum(
        path.stat().st_size for path in cache.glob(".partial/*")
    )


def archive(place: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(place.glob(f"{ARCHIVE}*"))}


@pytest.mark.timeout(300)
async def test_a_save_that_is_killed_at_many_moments(docker_registry: str, tmp_path: Path) -> None:
    size = await fill(docker_registry)
    calm, storm = tmp_path / "calm", tmp_path / "storm"
    chosen = random.Random(5)
    async with relay(docker_registry) as line:
        for place in (calm, storm):
            place.mkdir()
            names = "".join(f"{line.address}/crash/app{number}:1\n" for number in range(3))
            (place / "list.txt").write_text(names)
        assert await (await start(calm)).wait() == 0
        expected = archive(calm)
        undisturbed, line.carried, kept = line.carried, 0, 0
        for number in range(KILLS):
            late = number >= KILLS - LATE_KILLS
            # All by bytes together are less than there is; by seconds they meet start, hashing, archive and commit.
            moment = chosen.uniform(0.2, 1.0) if late else chosen.uniform(0, 1.7 * size / KILLS)
            status = await killed(storm, line, moment, by_bytes=not late)
            assert status in (None, 0), f"run {number}"
            check_cache(storm / "saved-image-cache")
            kept, before = bytes_in(storm / "saved-image-cache"), kept
            assert kept >= before, f"run {number} lost {before - kept} bytes of an earlier one"
            found = archive(storm)
            # An archive is there whole, or not at all; a kill between two renames may leave names of it.
            assert set(found.items()) <= set(expected.items()), f"run {number}"
        assert await (await start(storm)).wait() == 0
        assert archive(storm) == expected
        assert line.carried <= 1.01 * undisturbed + KILLS * JOBS * 2 * MIB
    assert not [name for name in os.listdir(storm) if name.endswith(".tmp")]
    assert os.listdir(storm / "saved-image-cache" / ".partial") == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", COMMANDS)
async def test_a_command_that_dies_at_any_operation_loses_nothing(name: str, command_scene: Scene) -> None:
    """Over an output of other content, with real files; the same command again makes all as it should be."""
    root = command_scene.shared.parent
    environment = {"HOME": str(root), "PYTHONPATH": os.pathsep.join(sys.path)}
    last = "0" if "CRASHES" in os.environ else "12"
    program = (sys.executable, "-m", "tests.faults.deaths", str(root), command_scene.registry, f"{name}:{last}")
    assert int(await run(*program, env=environment)) >= 3
