"""A mirror that is killed, or ended, at any moment: what the target has confirmed is never sent again."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.testing.images import Built, image, layer
from tests.engine.loading import tagged
from tests.fakes.clock import turns_until
from tests.fakes.faults import Hold, Stall
from tests.fakes.images import AMD64
from tests.fakes.pushes import Pushes
from tests.fakes.registry import FakeRegistry

LARGE = 300_000
#: The kills, the size of a large layer, and the ticks of a run before it is killed: fewer and smaller than by hand.
KILLS, SIZE, MOMENTS = (50, 40 * LARGE, (1, 25)) if "CRASHES" in os.environ else (3, 8 * LARGE, (1, 3))
#: The program, with another bound for uploads that are kept.
PROGRAM = f"from hangar_async.state import hints; hints.LARGE = {LARGE}; from hangar_async.cli.main import run; run()"


@dataclass
class Killer:
    """Kills a process after so many ticks: pieces of large uploads, and by hand requests that change a target too."""

    process: asyncio.subprocess.Process | None = None
    ticks: int = 0
    last: float = float("inf")

    def tick(self) -> None:
        self.ticks += 1
        if self.process is not None and self.ticks >= self.last:
            with suppress(ProcessLookupError):
                self.process.send_signal(signal.SIGKILL)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.tick()
        return await handler(request)


@dataclass
class Ticking(Pushes):
    """Tells a killer of each piece of an upload."""

    killer: Killer | None = None

    async def body(self, request: web.Request) -> AsyncIterator[bytes]:
        async for piece in super().body(request):
            yield piece
            if self.killer is not None and (request.content_length or 0) > LARGE:
                self.killer.tick()


def images() -> dict[str, Built]:
    """Four images, of which each shares a large layer with the next one."""
    source = random.Random(6)
    large = [layer({f"{number}": source.randbytes(SIZE)}, "none") for number in range(4)]
    small = [layer({f"{number}": source.randbytes(3_000)}, "none") for number in range(4)]
    return {
        f"app{number}": image([large[number], large[(number + 1) % 4], small[number]], AMD64) for number in range(4)
    }


async def start(place: Path, source: FakeRegistry, target: FakeRegistry, *flags: str) -> asyncio.subprocess.Process:
    place.mkdir(exist_ok=True)
    (place / "list.txt").write_text("".join(f"{source.address}/{name}:1\n" for name in images()))
    program = ("-c", PROGRAM) if "--state" in flags else ("-m", "hangar_async")
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *(*program, "mirror", "-f", "list.txt", "-d", f"{target.address}/copies", "-a", "all", "--os", "all"),
        *("-j", "4", "--quiet", "--retries", "0", *flags),
        cwd=place,
        env={**os.environ, "HOME": str(place), "PYTHONPATH": os.pathsep.join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )


def confirmed(target: FakeRegistry) -> Counter[str]:
    """Count for each blob and manifest in a repository how often the target has taken it."""
    taken = [one for one in target.asked("", "PUT") if one.status == 201]
    return Counter(
        f"{one.path.partition('/uploads/')[0]} {one.query['digest']}" if "digest" in one.query else one.path
        for one in taken
    )


@pytest.mark.timeout(300)
@pytest.mark.parametrize("flags", [(), ("--state", "state")], ids=["", "state"])
async def test_a_mirror_that_is_killed_at_many_moments(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, flags: tuple[str, ...]
) -> None:
    source, target, killer, chosen = fake_registry, pushable_registry, Killer(), random.Random(len(flags))
    pushes = target.pushes = Ticking(target.content, killer=killer)
    built = images()
    for name, one in built.items():
        source.add(f"{name}:1", one)
    for method in ("POST", "PUT", "PATCH") if "CRASHES" in os.environ else ():
        target.fail("", killer, method=method, times=None)
    killed, status = 0, 0
    for number in range(KILLS + 1):
        killer.last = killer.ticks + chosen.uniform(*MOMENTS) if number < KILLS else float("inf")
        killer.process = await start(tmp_path / "here", source, target, *flags)
        _, told = await killer.process.communicate()
        status = killer.process.returncode or 0
        assert status in (0, -signal.SIGKILL), told.decode()
        killed += status != 0
        # What the dead run has sent arrives before the next one asks.
        await turns_until(lambda: source.active + target.active == 0)
    assert status == 0
    assert killed >= min(KILLS, 3)
    for name, one in built.items():
        assert await tagged(target.content, f"copies/{name}:1") == one.digest
    assert set(confirmed(target).values()) == {1}
    if flags:
        # The large ones not even in part, nor for another repository.
        sizes = {str(digest): len(data) for one in built.values() for digest, data in one.blobs.items()}
        large = [size for size in sizes.values() if size > LARGE]
        assert sum(large) <= sum(pushes.received) <= sum(large) + (killed + 1) * (sum(sizes.values()) - sum(large))
        assert all(len(session.data) <= LARGE for session in pushes.sessions.values())


@pytest.mark.parametrize("hanging", ["source", "target"])
async def test_sigterm_ends_a_mirror_whose_uploads_hang(
    fake_registry: FakeRegistry, pushable_registry: FakeRegistry, tmp_path: Path, hanging: str
) -> None:
    """A kept session is not cancelled; the end waits for no answer for long."""
    source, target, until = fake_registry, pushable_registry, asyncio.Event()
    for name, one in images().items():
        source.add(f"{name}:1", one)
    flags = ("--state", "state") if hanging == "source" else ()
    large = [digest.hex for one in images().values() for digest, data in one.blobs.items() if len(data) > LARGE]
    if hanging == "source":
        source.fail(f"/blobs/.*({'|'.join(large)})", Stall(SIZE - 1, until), times=None)
    else:
        for method in ("PUT", "DELETE"):
            target.fail("/uploads/", Hold(until), method=method, times=None)

    def begun() -> set[str]:
        puts = target.asked(f"/uploads/.*({'|'.join(large)})", "PUT")
        return {one.path.partition("?")[0] for one in puts if one.status is None}

    process = await start(tmp_path / "here", source, target, *flags)
    try:
        async with asyncio.timeout(60):
            await turns_until(lambda: len(begun()) >= 3, 1 << 30)
            process.terminate()
            _, told = await process.communicate()
    finally:
        until.set()
        if process.returncode is None:
            process.kill()
            await process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, told.decode()
    assert b"terminated" in told
    cancelled = {one.path.partition("?")[0] for one in target.asked("/uploads/", "DELETE")}
    assert begun() & cancelled == (begun() if hanging == "target" else set())
