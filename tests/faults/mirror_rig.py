"""A mirror between two registries on which something goes wrong, and what must be so whatever happens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.config.target_options import MirrorOptions
from hangar_async.engine.events import Observer, ignore
from hangar_async.engine.limits.hosts import Clock
from hangar_async.engine.mirror import mirror
from hangar_async.engine.reports import MirrorReport
from hangar_async.oci import Digest
from hangar_async.testing.images import Built, Layer, image, layer
from tests.fakes.clock import FakeClock
from tests.fakes.faults import Fault
from tests.fakes.images import AMD64
from tests.fakes.registry import FakeRegistry

RETRIES = 2
#: Larger than what the connections and the buffers between two registries take at once.
BIG = layer({"big": random.Random(9).randbytes(3_000_000)}, "none")
#: The size of the blobs that break at each of their bytes.
FEW = 64
#: The first message of a registry about another number of bytes than none: one byte and none look alike.
LEAST_TOLD = 2


def few_bytes(number: int) -> Layer:
    """Make a layer of 64 bytes, another one for each number."""
    data = random.Random(number).randbytes(FEW)
    return Layer(data, "application/vnd.oci.image.layer.v1.tar", Digest.of(data))


def with_big(name: str) -> Built:
    """Make an image with the large layer, another one for each name."""
    return image([BIG], AMD64, labels={"name": name})


def with_own(name: str) -> Built:
    """Make an image with a layer that no other one has."""
    return image([layer({"name": name.encode()}, "none")], AMD64, labels={"name": name})


@dataclass
class Scene:
    """Both registries, and what came of the mirror: images go below `copies`."""

    source: FakeRegistry
    target: FakeRegistry
    time: FakeClock = field(default_factory=FakeClock)
    observe: Observer = ignore
    settings: dict[str, Any] = field(default_factory=dict)
    target_settings: dict[str, Any] = field(default_factory=dict)
    report: MirrorReport | None = None

    async def mirror(self, *images: str, clock: Clock | None = None, **keywords: Any) -> MirrorReport:
        """Mirror images, by a clock on which nothing waits; SOURCE is the address of the source."""
        common: dict[str, Any] = {"retry": RetryPolicy(retries=RETRIES, first=1.0, longest=4.0), "stall_timeout": 20.0}
        environment = Environment(
            registries=RegistrySettings(**common, **self.settings),
            destinations=RegistrySettings(**common, **self.target_settings),
        )
        values: dict[str, Any] = {
            "images": [one.replace("SOURCE", self.source.address) for one in images],
            "destination": f"{self.target.address}/copies",
            "architectures": ["all"],
            "systems": ["all"],
            "environment": environment,
            "jobs": 4,
        }
        options = MirrorOptions(**{**values, **keywords})
        self.report = await mirror(options, self.observe, clock=clock or self.time.clock)
        return self.report

    async def check(self, *images: tuple[str, Built]) -> None:
        """Check that nothing failed, and that the target has every byte of images, each with its name."""
        assert self.report is not None
        assert [str(outcome.error) for outcome in self.report.failed] == []
        for name, built in images:
            await self.has(name, built)
        assert self.source.active == self.target.active == 0
        assert self.target.pushes is not None
        assert self.target.pushes.sessions == {}

    async def has(self, name: str, built: Built) -> None:
        """Check that the target has every byte of an image, under its tag."""
        content, repository = self.target.content, f"copies/{name}"
        root = await content.resolve(repository, "1")
        assert root is not None
        assert root.digest == built.digest
        for digest, (_, raw) in built.documents.items():
            assert await content.resolve(repository, digest) is not None
            assert b"".join([bytes(piece) async for piece in content.read(digest, 0, len(raw))]) == raw
        for digest, data in built.blobs.items():
            assert await content.size(repository, digest) == len(data)
            assert b"".join([bytes(piece) async for piece in content.read(digest, 0, len(data))]) == data

    def ranges(self, digest: object) -> list[str | None]:
        """List the ranges of a blob that the source was asked for and answered."""
        asked = self.source.asked(f"/blobs/{digest}", "GET")
        return [request.headers.get("Range") for request in asked if request.status is not None]

    def received(self) -> int:
        """Return the bytes of blobs that the target has received."""
        assert self.target.pushes is not None
        return sum(self.target.pushes.received)


@dataclass
class Each:
    """Goes wrong once with each blob, by its digest; all else is answered rightly."""

    faults: dict[str, Fault]

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        digest = request.query.get("digest") or request.path.rpartition("/")[2]
        fault = self.faults.pop(digest, None)
        return await (fault(request, handler) if fault else handler(request))


@dataclass
class After:
    """Does something, then goes wrong as another fault does, or answers rightly."""

    do: Any
    fault: Fault | None = None

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.do()
        return await (self.fault(request, handler) if self.fault else handler(request))
