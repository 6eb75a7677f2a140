"""A save of two images from a registry on which something goes wrong, and what must be so whatever happens."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import zstandard

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.events import Event, HostClosed, Retrying
from hangar_async.engine.reports import ImageOutcome, Report
from hangar_async.engine.save import save
from hangar_async.errors import HangarError
from hangar_async.oci.digest import Digest
from hangar_async.oci.platform import Platform
from hangar_async.testing.images import Built, Layer, image, index, layer
from tests.failed_list import names_in
from tests.fakes.clock import FakeClock
from tests.fakes.registry import FakeRegistry

AMD64 = Platform("linux", "amd64")
#: Several pieces of it are received, and most of them straight into buffers of ours.
BIG = layer({"big": random.Random(3).randbytes(2_500_000)}, "none")
SMALL = layer({"small": b"small" * 100}, "none")
#: `bad` is what meets the faults, an index; `good` has nothing to do with them.
BAD = index([image([BIG, SMALL], AMD64, labels={"name": "bad"})])
GOOD = image([layer({"good": b"good"}, "none")], AMD64, labels={"name": "good"})
RETRIES = 2


@dataclass
class Scene:
    """The registry, and what came of the save."""

    registry: FakeRegistry
    place: Path
    time: FakeClock = field(default_factory=FakeClock)
    events: list[Event] = field(default_factory=list)
    bad: Built = BAD
    settings: dict[str, Any] = field(default_factory=dict)
    report: Report | None = None

    @property
    def manifest(self) -> str:
        """A pattern for the request of the manifest by tag."""
        return "/bad/manifests/1$"

    def blob(self, one: Layer = BIG) -> str:
        """A pattern for the requests of a blob."""
        return f"/bad/blobs/{one.digest}"

    def asked(self, pattern: str) -> int:
        """How often something was asked for."""
        return len(self.registry.asked(pattern))

    def ranges(self, one: Layer = BIG) -> list[str | None]:
        """The ranges of a blob that were asked for.

        A request on a connection that the server was closing got no answer, and aiohttp made it again by itself.
        """
        asked = self.registry.asked(self.blob(one))
        return [request.headers.get("Range") for request in asked if request.status is not None]

    def pauses(self) -> list[float]:
        """For how long the registry was left alone, each time."""
        return [event.seconds for event in self.events if isinstance(event, HostClosed)]

    def retries(self) -> list[Retrying]:
        return [event for event in self.events if isinstance(event, Retrying)]

    async def save(self, jobs: int = 4) -> Report:
        """Save both images into a directory, by a clock on which nothing waits."""
        self.registry.add("bad:1", self.bad)
        self.registry.add("good:1", GOOD)
        policy = RetryPolicy(retries=RETRIES, first=1.0, longest=4.0)
        settings = RegistrySettings(**{"retry": policy, "stall_timeout": 0.3, **self.settings})
        address = self.registry.address
        options = SaveOptions(
            images=[f"{address}/bad:1", f"{address}/good:1"],
            format="gzip",
            destination=self.place / "out.tar.gz",
            cache=self.place / "cache",
            failed=self.place / "failed.txt",
            jobs=jobs,
            environment=Environment(registries=settings),
        )
        self.report = await save(options, self.events.append, clock=self.time.clock)
        return self.report

    def outcome(self) -> ImageOutcome:
        """The outcome of the image that met the fault."""
        assert self.report is not None
        return self.report.outcomes[0]

    def check(self, error: type[HangarError] | None) -> None:
        """Check what must be so after every fault: the other image is saved, and nothing that is kept is wrong."""
        assert self.report is not None
        outcome = self.outcome()
        if error is None:
            assert outcome.ok, outcome.error
            assert self.report.status == 0
            assert not (self.place / "failed.txt").exists()
        else:
            assert type(outcome.error) is error, outcome.error
            assert self.report.status == 1
            assert names_in(self.place / "failed.txt") == [f"{self.registry.address}/bad:1"]
            assert "\n" not in str(outcome.error)
            assert outcome.error.advice
        assert self.report.outcomes[1].ok
        check_cache(self.place / "cache")
        names = {path.name for path in self.place.iterdir()}
        assert names <= {"out.tar.gz", "out.tar.gz.sha256", "cache", "failed.txt"}
        assert self.registry.active == 0


def check_cache(cache: Path) -> None:
    """Check that every blob has the digest that is its name."""
    for path in (cache / "share").rglob("*"):
        if path.is_file():
            assert Digest.of(path.read_bytes(), path.parent.name).hex == path.name


Script: TypeAlias = Callable[[Scene], None]


@dataclass(frozen=True)
class Row:
    """A row of the table: what goes wrong, what happens then, and what shows it.

    `error` is that of the image, None where it is saved. `checks` look at the scene afterwards.
    """

    name: str
    fault: str
    then: str
    script: Script
    error: type[HangarError] | None = None
    checks: Sequence[Callable[[Scene], None]] = ()


def archive_content(path: Path) -> dict[str, bytes]:
    """The files in an archive of one file, without its index, which depends on the sizes of the compressed ones."""
    if path.suffix == ".gz":
        data = gzip.decompress(path.read_bytes())
    else:
        with path.open("rb") as file:
            data = zstandard.ZstdDecompressor().stream_reader(file, read_across_frames=True).read()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        files = {member.name: tar.extractfile(member) for member in tar if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None and "archive-index" not in name}
