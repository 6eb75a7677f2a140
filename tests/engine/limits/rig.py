"""Requests that fail as told, with a clock that does not wait."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.events import Event, HostClosed
from hangar_async.engine.limits.client import Retrier
from hangar_async.engine.limits.queue import Ticket
from hangar_async.errors import HangarError, NetworkError, RegistryError
from hangar_async.testing.images import index, layer
from tests.fakes.clock import FakeClock
from tests.fakes.images import ARM64, small

POLICY = RetryPolicy(retries=3, first=1.0, longest=3.0)


def permits(count: int, blobs: int = 100) -> JobLimits:
    """Make limits of so many requests, and so many of an image."""
    return JobLimits(1, blobs, count)


def busy(after: float | None = None, status: int = 429, host: str = "h") -> RegistryError:
    return RegistryError("too many requests", host=host, status=status, retry_after=after)


def unreachable(host: str = "h", missing: Any = "connection") -> NetworkError:
    return NetworkError("refused", host=host, missing=missing)


class Trial:
    """Runs requests that fail as they are told to, without waiting."""

    def __init__(self, policy: RetryPolicy = POLICY, jobs: int = 8, time: FakeClock | None = None) -> None:
        self.time = time or FakeClock()
        self.events: list[Event] = []
        self.retrier = Retrier(permits(jobs), policy, self.events.append, self.time.clock)
        self.tries = 0

    async def run(
        self, *errors: HangarError, host: str = "h", kind: str = "", alternatives: bool = False, rank: int = 0
    ) -> str:
        rest = list(errors)

        async def once() -> str:
            self.tries += 1
            if rest:
                raise rest.pop(0)
            return "done"

        return await self.retrier.run("blob", host, Ticket((rank,)), once, kind=kind, alternatives=alternatives)

    async def ask(self, request: Callable[[], Awaitable[None]], *, rank: int = 0) -> None:
        await self.retrier.run("blob", "h", Ticket((rank,)), request)

    def closed(self) -> list[float]:
        return [event.seconds for event in self.events if isinstance(event, HostClosed)]


BASE = layer({"base": b"base" * 5000})
IMAGE = index([small("app", BASE), small("app", platform=ARM64)])
