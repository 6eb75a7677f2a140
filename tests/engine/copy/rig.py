"""A source of documents and blobs of fake registries."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any

from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import NO_MIRRORS, RegistrySettings, RetryPolicy
from hangar_async.engine.copy.blobs import RegistryBlobs
from hangar_async.engine.copy.documents import RegistryDocuments
from hangar_async.engine.events import ignore
from hangar_async.engine.limits.client import LimitedClient, Retrier
from hangar_async.oci import Descriptor
from hangar_async.registry.client import RegistryClient
from hangar_async.singleflight import SingleFlight
from tests.fakes.clock import FakeClock

POLICY = RetryPolicy(retries=2, first=8.0, longest=16.0, outage_pauses=(0.0,))


@dataclass
class Source:
    """Documents and blobs of registries, the client that asks for them, and the clock of its waits."""

    client: LimitedClient
    documents: RegistryDocuments
    blobs: RegistryBlobs
    time: FakeClock

    async def read(self, blob: Descriptor, start: int = 0) -> bytes:
        return b"".join([bytes(piece) async for piece in self.blobs.read(blob, start)])


@asynccontextmanager
async def open_source(**keywords: Any) -> AsyncIterator[Source]:
    """Open a client with the documents and blobs that it gives; `keywords` are those of the blobs."""
    time = FakeClock()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(RegistryClient(RegistrySettings(stall_timeout=20.0)))
        flights = await stack.enter_async_context(SingleFlight())
        limited = LimitedClient(client, Retrier(JobLimits(1, 6, 6), POLICY, ignore, time.clock))
        yield Source(
            limited,
            RegistryDocuments(limited, flights, NO_MIRRORS),
            RegistryBlobs(client, limited, NO_MIRRORS, POLICY, time.clock, **keywords),
            time,
        )
