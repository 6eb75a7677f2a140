"""A registry on a real socket that tells what it was asked, and a short way to run `save` on it."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, TypeAlias

from aiohttp import web
from aiohttp.typedefs import Handler

from hangar_async.config.environment import Environment
from hangar_async.config.options import SaveOptions, SyncOptions
from hangar_async.config.registries import RegistrySettings, RetryPolicy
from hangar_async.engine.events import Event
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from hangar_async.oci.platform import Platform
from hangar_async.server.app import serving
from hangar_async.testing.images import Built, Layer, image, layer
from hangar_async.testing.memory import MemoryContent

#: Answers a request itself, or None: then the registry does.
Fault: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse | None]]

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
ARMV7 = Platform("linux", "arm", "v7")
WINDOWS = Platform("windows", "amd64", "", "10.0.17763.1879")


@dataclass
class Registry:
    """What it serves, what it was asked for, and how many requests it answered at once."""

    content: MemoryContent = field(default_factory=MemoryContent)
    address: str = ""
    asked: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    fault: Fault | None = None
    at_once: int = 0
    peak: int = 0

    def blobs_asked(self) -> Counter[str]:
        """How often each blob was asked for, by its digest."""
        return Counter({path.rpartition("/")[2]: count for path, count in self.asked.items() if "/blobs/" in path})

    async def watch(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note a request, and answer it."""
        self.asked[request.path] += 1
        self.order.append(request.path)
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        try:
            # Others get their turn to come in before this one is answered.
            for _ in range(3):
                await asyncio.sleep(0)
            answer = await self.fault(request) if self.fault else None
            return answer or await handler(request)
        finally:
            self.at_once -= 1


@asynccontextmanager
async def registry() -> AsyncIterator[Registry]:
    found = Registry()

    @web.middleware
    async def watch(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await found.watch(request, handler)

    async with serving(found.content, middlewares=[watch]) as found.address:
        yield found


def small(name: str, *layers: Layer, platform: Platform = AMD64, **keywords: Any) -> Built:
    """An image with a layer of its own over others."""
    return image([*layers, layer({f"{name}.txt": name.encode() * 50})], platform, labels={"name": name}, **keywords)


def options(tmp_path: Path, *lines: str, **keywords: Any) -> SaveOptions:
    settings = RegistrySettings(retry=RetryPolicy(retries=2, first=0.0, longest=0.0), stall_timeout=20.0)
    values: dict[str, Any] = {
        "images": lines,
        "format": "dir",
        "destination": tmp_path / "out",
        "cache": tmp_path / "saved-image-cache",
        "failed": tmp_path / "failed.txt",
        "jobs": 4,
        "environment": Environment(registries=settings),
    }
    return SaveOptions(**{**values, **keywords})


def sync_options(tmp_path: Path, *lines: str, **keywords: Any) -> SyncOptions:
    """Options of a sync into the cache of `options`."""
    saved = options(tmp_path, *lines)
    values = {name.name: getattr(saved, name.name) for name in fields(SyncOptions)}
    return SyncOptions(**{**values, **keywords})


async def run(tmp_path: Path, *lines: str, events: list[Event] | None = None, **keywords: Any) -> Report:
    sink = events if events is not None else []
    return await save(options(tmp_path, *lines, **keywords), sink.append)
