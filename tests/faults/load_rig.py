"""A load of two images into a registry on which something goes wrong, and what must be so whatever happens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hangar_async.config.environment import Environment
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.config.target_options import LoadOptions
from hangar_async.engine.events import Event, HostClosed
from hangar_async.engine.load import load
from hangar_async.engine.reports import LoadOutcome, LoadReport
from hangar_async.engine.save import save
from hangar_async.testing.images import image, index, layer
from tests.engine.rig import options
from tests.failed_list import names_in
from tests.fakes.clock import FakeClock
from tests.fakes.images import AMD64
from tests.fakes.registry import FakeRegistry, fake_registry

#: Larger than what a connection and its buffers take at once.
BIG = layer({"big": random.Random(9).randbytes(3_000_000)}, "none")
SMALL = layer({"small": b"small" * 100}, "none")
BAD = index([image([BIG, SMALL], AMD64, labels={"name": "bad"})])
GOOD = image([layer({"good": b"good" * 1000}, "none")], AMD64, labels={"name": "good"})
RETRIES = 2
#: What a blob, a manifest and a tag are put to.
UPLOADS = "/library/bad/blobs/uploads/"
TAG = "/library/bad/manifests/1$"


async def save_both(place: Path, **keywords: Any) -> None:
    """Save both images: `all.tar.gz`, and the directory `cache` below a place."""
    async with fake_registry() as served:
        served.content.add("bad:1", BAD)
        served.content.add("good:1", GOOD)
        names = [f"{served.address}/{name}:1" for name in ("bad", "good")]
        values = {"format": "gzip", "destination": place / "all.tar.gz", "cache": place / "cache", "sync": False}
        report = await save(options(place, *names, **values, **keywords))
        assert report.status == 0


@dataclass
class Scene:
    """The registry, and what came of the load."""

    registry: FakeRegistry
    source: Path
    place: Path
    time: FakeClock = field(default_factory=FakeClock)
    events: list[Event] = field(default_factory=list)
    report: LoadReport | None = None

    async def load(self, **keywords: Any) -> LoadReport:
        """Load both images, by a clock on which nothing waits."""
        policy = RetryPolicy(retries=RETRIES, first=1.0, longest=4.0)
        settings = RegistrySettings(retry=policy, stall_timeout=0.5)
        values: dict[str, Any] = {
            "source": self.source,
            "destination": self.registry.address,
            "failed": self.place / "failed.txt",
            "jobs": 2,
            "spool": self.place,
            "environment": Environment(destinations=settings),
        }
        self.report = await load(LoadOptions(**{**values, **keywords}), self.events.append, clock=self.time.clock)
        return self.report

    def pauses(self) -> list[float]:
        """For how long the registry was left alone, each time."""
        return [event.seconds for event in self.events if isinstance(event, HostClosed)]

    async def check(self, error: type[Exception] | None) -> LoadOutcome:
        """Check what must be so after every fault, and return what became of the image that met it."""
        assert self.report is not None
        bad, good = self.report.outcomes
        assert good.ok, good.error
        await self.has("good", GOOD.digest)
        if error is None:
            assert bad.ok, bad.error
            assert self.report.status == 0
            # An archive without index tells nothing of the index at the source.
            [manifest, whole] = BAD.documents
            await self.has("bad", manifest if self.source.parent.name == "plain" else whole)
            assert await self.registry.content.size("library/bad", BIG.digest) == len(BIG.data)
        else:
            assert type(bad.error) is error, bad.error
            assert self.report.status == 1
            assert bad.error.advice
            assert names_in(self.place / "failed.txt") == [bad.image.name]
            # A tag never points at something incomplete.
            assert await self.registry.content.resolve("library/bad", "1") is None
        assert not list(self.place.glob(".load.*"))
        assert self.registry.active == 0
        return bad

    async def has(self, name: str, digest: object) -> None:
        found = await self.registry.content.resolve(f"library/{name}", "1")
        assert found is not None
        assert found.digest == digest
