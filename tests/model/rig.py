"""A run on a real socket, and what must be so at its end, whatever went wrong."""

from __future__ import annotations

import asyncio
import os
import random
import re
import socket
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.environment import Environment
from hangar_async.config.jobs import JobLimits
from hangar_async.config.options import VerifyOptions
from hangar_async.config.registries import Mirror, Mirrors, RegistrySettings, RetryPolicy, Route
from hangar_async.disk import Disk
from hangar_async.engine.events import Event
from hangar_async.engine.limits import client
from hangar_async.engine.limits.queue import RequestQueue
from hangar_async.engine.reports import ImageOutcome, Report
from hangar_async.engine.save import save, sync
from hangar_async.engine.verify import verify
from tests.engine.rig import held, options, sync_options
from tests.failed_list import names_in
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Bytes, Close, Cut, Fault, IgnoreRange, Script, Status, flipped
from tests.fakes.faulty_disk import OPERATIONS, FaultyDisk
from tests.fakes.registry import FakeRegistry, fake_registry
from tests.faults.rig import check_cache
from tests.model.expected import Answer, Expected, Model
from tests.model.plans import IMAGES, MIRROR, NO_PLATFORM, Line, Plan

#: Seconds after which a run hangs: no run waits for anything.
HANGS = 30.0
RETRIES = 2
SETTINGS = RegistrySettings(retry=RetryPolicy(retries=RETRIES, first=1.0, longest=4.0), stall_timeout=2 * HANGS)
#: A file system in memory, where there is one.
MEMORY = next((path for path in [Path("/dev/shm")] if path.is_dir()), None)
_T = TypeVar("_T")
_SceneT = TypeVar("_SceneT", bound="Scene")


@dataclass
class Moments:
    """Counts requests and events, and cancels a task after some of them and some turns of the event loop."""

    rest: int = -1
    turns: int = 0
    task: asyncio.Future[Any] | None = None

    def __call__(self, event: Event | None = None) -> None:
        self.rest -= 1
        if self.rest == 0:
            self._turn()

    def _turn(self) -> None:
        if self.turns > 0:
            self.turns -= 1
            asyncio.get_running_loop().call_soon(self._turn)
        elif self.task is not None:
            self.task.cancel()


@dataclass
class Late:
    """Answers as a script says, after some turns of the event loop."""

    script: Script
    chosen: random.Random
    moments: Moments

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.moments()
        for _ in range(self.chosen.choice([0, 0, 1, 3, 20])):
            await asyncio.sleep(0)
        return await self.script.answer(request, handler)


@dataclass
class Both:
    """A fault of an answer that another fault has made."""

    outer: Fault
    inner: Fault

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await self.outer(request, lambda inner: self.inner(inner, handler))


#: Faults of any request: refusals, and connections that end without an answer.
ANSWERS: Mapping[str, Fault] = {
    "missing": Status(404),
    "denied": Status(403),
    "broken": Status(500),
    "busy": Status(503),
    "limited": Status(429, {"Retry-After": "3"}),
    "closed": Close(),
    "reset": Close(reset=True),
}


def fault(kind: str, size: int) -> Fault:
    """Make a fault of a content of this size."""
    faults: dict[str, Fault] = {
        **ANSWERS,
        "nothing": Cut(0),
        "wrong": Bytes(flipped),
        "short": Bytes(lambda data: data[:-1]),
        "cut": Cut(max(1, size // 2)),
        "cut without ranges": Both(Cut(max(1, size // 2)), IgnoreRange()),
        "no ranges": IgnoreRange(),
    }
    return faults[kind]


class SlowDisk(Disk):
    """Takes up to a millisecond for some operations."""

    def __init__(self, chosen: random.Random) -> None:
        self._chosen = chosen

    def __getattribute__(self, name: str) -> Any:
        found = super().__getattribute__(name)
        return partial(self._slowly, found) if name in OPERATIONS else found

    def _slowly(self, operation: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        if self._chosen.random() < 0.2:
            time.sleep(self._chosen.random() / 1000)
        return operation(*arguments, **keywords)


def descriptors() -> dict[str, str]:
    """The open files and sockets of this process."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[name] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue
    return found


def own_tasks() -> list[str]:
    """The tasks of the loop but for this one, and those of servers."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    return [text for task in tasks if not re.search("aiohttp/web|hangar_async/server", text := repr(task))]


@dataclass(kw_only=True)
class Scene:
    """Runs in one directory, and what they use; `seed` chooses the delays."""

    place: Path
    seed: int
    moments: Moments = field(default_factory=Moments)
    queues: list[RequestQueue] = field(default_factory=list)
    sessions: list[aiohttp.ClientSession] = field(default_factory=list)
    disk: Disk | None = None
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def __post_init__(self) -> None:
        self.chosen = random.Random(self.seed)

    async def open(self) -> None:
        """Start what the runs need."""

    def note_queue(self, limits: JobLimits) -> RequestQueue:
        self.queues.append(RequestQueue(limits))
        return self.queues[-1]

    def patch(self, patches: pytest.MonkeyPatch) -> None:
        """Note each queue and session, and let everything go to the disk of the plan."""
        make_session = aiohttp.ClientSession

        def note_session(**keywords: Any) -> aiohttp.ClientSession:
            self.sessions.append(make_session(**keywords))
            return self.sessions[-1]

        patches.setattr(client, "RequestQueue", self.note_queue)
        patches.setattr(aiohttp, "ClientSession", note_session)
        for module in ("save", "outputs", "push.run") if self.disk is not None else ():
            patches.setattr(f"hangar_async.engine.{module}.Disk", lambda: self.disk)


@dataclass(kw_only=True)
class World(Scene):
    """The registries of a plan, and its runs."""

    plan: Plan
    registries: list[FakeRegistry | socket.socket] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.plan.disk_failure is not None:
            self.disk = FaultyDisk(self.plan.disk_failure)
        elif self.plan.slow_disk:
            self.disk = SlowDisk(self.chosen)

    async def open(self) -> None:
        """Start the registries; one that is away has a port at which nothing listens."""
        for number, state in enumerate(self.plan.hosts):
            if number == MIRROR and self.plan.mirrored is None:
                continue
            if state == "away":
                listener = self.stack.enter_context(socket.socket())
                listener.bind(("127.0.0.1", 0))
                self.registries.append(listener)
                self.addresses.append("{}:{}".format(*listener.getsockname()))
            else:
                registry = await self.stack.enter_async_context(fake_registry())
                self.registries.append(registry)
                self.addresses.append(registry.address)
                self.fill(number, registry)

    def fill(self, number: int, registry: FakeRegistry) -> None:
        for line in self.plan.at_mirror if number == MIRROR else self.plan.lines:
            if line.host == number or number == MIRROR:
                registry.add(f"{line.repository}:{line.tag}", IMAGES[line.image])

    def break_down(self) -> None:
        """Let everything go wrong as the plan says."""
        for number, registry in enumerate(self.registries):
            if isinstance(registry, socket.socket):
                continue
            script = Script()
            if self.plan.hosts[number] == "limited":
                script.add("", Status(429, {"Retry-After": "100000"}), times=None)
            if self.plan.hosts[number] == "dying":
                script.add("", Close(reset=True), skip=self.chosen.randrange(12), times=None)
            for (host, repository, part), trouble in self.plan.faults.items():
                if host == number:
                    path = rf"^/v2/{repository}/{part.kind}/{re.escape(part.reference)}(\?|$)"
                    script.add(path, fault(trouble.kind, self.size(part.reference)), times=trouble.times)
            registry.fail("", Late(script, self.chosen, self.moments), times=None)

    def size(self, reference: str) -> int:
        for line in self.plan.lines:
            built = IMAGES[line.image]
            if reference == line.tag:
                return len(built.raw)
            for digest, (_, raw) in built.documents.items():
                if reference == str(digest):
                    return len(raw)
            for digest, data in built.blobs.items():
                if reference == str(digest):
                    return len(data)
        raise AssertionError(reference)

    async def repair(self) -> None:
        """Let everything go well again."""
        for number, registry in enumerate(self.registries):
            if isinstance(registry, socket.socket):
                port = registry.getsockname()[1]
                registry.close()
                revived = await self.stack.enter_async_context(fake_registry(port=port))
                self.fill(number, revived)
                self.registries[number] = revived
            else:
                registry.faults.rules.clear()
                registry.requests.clear()

    @property
    def settings(self) -> RegistrySettings:
        if self.plan.mirrored is None:
            return SETTINGS
        route = Route(self.addresses[0], (Mirror(self.addresses[MIRROR]),))
        return replace(SETTINGS, mirrors=Mirrors((route,)))

    def keywords(self) -> dict[str, Any]:
        return {
            "jobs": 2,
            "requests": self.plan.jobs,
            "environment": Environment(registries=self.settings),
            "sync": False,
        }

    def text(self, line: Line) -> str:
        return self.plan.reference(self.addresses, line)

    async def save(self) -> Report:
        """Save all lines into an archive."""
        plan = self.plan
        target = {"format": plan.format, "part_size": plan.part_size, "level": 1}
        wanted = options(self.place, *map(self.text, plan.lines), **target, **self.keywords())
        return await save(wanted, self.moments, clock=FakeClock().clock)

    async def sync(self, lines: Sequence[Line] | None = None) -> Report:
        """Add lines to the cache; all where none are named."""
        wanted = sync_options(self.place, *map(self.text, lines or self.plan.lines), **self.keywords())
        return await sync(wanted, self.moments, clock=FakeClock().clock)

    @property
    def cache(self) -> Path:
        return self.place / "saved-image-cache"

    @property
    def archives(self) -> list[Path]:
        """The first file of the archive, where there is one."""
        first = [path for path in self.place.glob("out.tar.*") if path.suffix in (".gz", ".zstd", ".part0")]
        return sorted(first)

    def stored(self) -> set[str]:
        """The digests that the cache has."""
        return held(self.cache) if (self.cache / "share" / "sha256").exists() else set()

    def asked(self, *hosts: int) -> list[str]:
        """The digests of all contents that registries were asked for."""
        registries = [registry for number, registry in enumerate(self.registries) if number in hosts]
        asked = [
            one
            for registry in registries
            if isinstance(registry, FakeRegistry)
            for one in registry.asked("/(?:manifests|blobs)/sha256:", "GET")
        ]
        return [request.path.rpartition("/")[2] for request in asked]


@asynccontextmanager
async def nothing_left(scene: Scene) -> AsyncIterator[None]:
    """Check that a run leaves no task, file, connection or permit."""
    before = descriptors()
    try:
        yield
        assert own_tasks() == []
        assert scene.sessions
        assert all(session.closed for session in scene.sessions)
    finally:
        await scene.stack.aclose()
    for _ in range(100):
        if descriptors() == before:
            break
        await asyncio.sleep(0.001)
    assert descriptors() == before
    assert own_tasks() == []
    for queue in scene.queues:
        assert repr(queue).startswith(f"<RequestQueue 0 of {queue.count} held")


def run_scene(make: Callable[[Path], _SceneT], check: Callable[[_SceneT], Awaitable[None]]) -> None:
    """Check a scene in a loop and a directory of its own."""

    async def run(place: Path) -> None:
        scene = make(place)
        async with asyncio.timeout(HANGS):
            with pytest.MonkeyPatch.context() as patches:
                scene.patch(patches)
                async with nothing_left(scene):
                    await scene.open()
                    await check(scene)

    with tempfile.TemporaryDirectory(dir=MEMORY) as place:
        asyncio.run(run(Path(place)))


async def cancelled(scene: Scene, cancel: tuple[int, int], run: Callable[[], Awaitable[_T]]) -> _T | None:
    """Cancel a run after so many requests and events, and turns; None where it did not end before."""
    scene.moments.rest, scene.moments.turns = cancel
    task = asyncio.ensure_future(run())
    scene.moments.task = task
    try:
        return await task
    except asyncio.CancelledError:
        return None
    finally:
        scene.moments.task = None


def check_report(world: World, report: Report) -> None:
    """Compare a report with the model."""
    plan = world.plan
    expected = Model(plan).outcomes()
    assert report.duplicates == len(plan.lines) - len(plan.entries)
    assert [outcome.entry.text for outcome in report.outcomes] == [world.text(line) for line in plan.entries]
    for line, outcome, one in zip(plan.entries, report.outcomes, expected, strict=True):
        check_outcome(line, outcome, one)
    assert report.status == (3 if not saved(report) else 1 if report.failed else 0)
    failed = [outcome.entry.text for outcome in report.failed]
    path = world.place / "failed.txt"
    if isinstance(world.disk, FaultyDisk) and any("the list of failed images" in text for text in report.notices):
        assert report.failed_list is None
    else:
        assert path.exists() == bool(failed)
        assert not failed or names_in(path) == failed


def check_outcome(line: Line, outcome: ImageOutcome, expected: Expected) -> None:
    if outcome.error is None:
        assert expected.answer != Answer.NO, f"{line} was saved, against {expected}"
        assert (outcome.image is None) == (outcome.same_as is not None)
        if outcome.image is not None:
            digests = {platform.descriptor.digest for platform in outcome.image.platforms}
            assert digests == line.parts.digests
    else:
        assert expected.answer != Answer.YES, f"{line}: {outcome.error}"
        assert outcome.error.reason in expected.reasons, f"{line}: {outcome.error!r}, against {expected}"
        assert outcome.error.advice
        assert "\n" not in str(outcome.error)


async def check_files(world: World, report: Report | None) -> None:
    """Check that there is nothing but outputs, the cache and its partial files, and that all of it is whole."""
    names = {path.name for path in world.place.iterdir()}
    others = names - {"saved-image-cache", "failed.txt"}
    assert all(re.fullmatch(r"out\.tar\.(gz|zstd)(\.part\d+)?(\.sha256)?", name) for name in others), others
    if world.cache.exists():
        check_cache(world.cache)
        assert not list(world.cache.rglob("*.tmp"))
        for path in world.cache.glob(".partial/*"):
            assert re.fullmatch(r"sha256-[0-9a-f]{64}\.\d+", path.name)
    if report is not None and report.output is None:
        assert not others


async def images_of(path: Path) -> set[str]:
    """Check that an archive or a directory is whole; its images."""
    verdict = await verify(VerifyOptions(path))
    assert verdict.problems == ()
    return {image.name for image in verdict.images}


def saved(report: Report) -> set[str]:
    """The images that were saved."""
    return {outcome.image.name for outcome in report.outcomes if outcome.image is not None}


async def check_second_run(world: World, run: Callable[[], Awaitable[Report]]) -> Report:
    """Run again without faults: everything is whole then, and nothing is asked for that is there, or twice."""
    before = world.stored()
    await world.repair()
    if isinstance(world.disk, FaultyDisk):
        world.disk.start()
    report = await run()
    for line, outcome in zip(world.plan.entries, report.outcomes, strict=True):
        if line.image == NO_PLATFORM and outcome.same_as is None:
            assert outcome.error is not None
            assert outcome.error.reason == "no such platform"
        else:
            assert outcome.ok, outcome.error
    assert not before.intersection(world.asked(0, 1, MIRROR))
    # A digest in the list is asked for by each line that has it, and a mirror is asked for what it does not have.
    roots = {line.root.reference for line in world.plan.entries}
    assert set(Counter(digest for digest in world.asked(0, 1) if digest not in roots).values()) <= {1}
    return report
