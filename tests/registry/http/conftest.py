"""Fixtures of this room."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

import pytest
import uvloop

from hangar_async.config.registries import Proxies, RegistrySettings
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http import self_test
from tests.fakes.names import Names
from tests.fakes.registry import answering
from tests.registry.http.rig import Guide, Play, Scene, Site, inside
from tests.registry.rig import (
    Answer,
    Proxy,
    blob_server,
)


@pytest.fixture(params=[False, True], ids=["lent", "copied"])
def plain_body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways to send a body: with an aiohttp that is known, and with another one."""
    monkeypatch.setattr(self_test, "_results", [not request.param])


@pytest.fixture(params=["plain", "tls"])
def play(request: pytest.FixtureRequest, server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]) -> Play:
    """Run a scene on asyncio's own loop and on uvloop, before a server that answers for all blobs."""
    tls = server_tls if request.param == "tls" else None

    async def run(answer: Answer, scene: Scene) -> None:
        async with answering(blob_server(answer), tls=tls) as registry:
            settings = trusting(registry.address, stall_timeout=0.3)
            async with RegistryClient(settings, connections=2) as client:
                await scene(registry, client)

    def both(answer: Answer, scene: Scene) -> None:
        for factory in (None, uvloop.new_event_loop):
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(run(answer, scene))

    return both


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    return Names(monkeypatch)


@pytest.fixture
async def site(server_tls: ssl.SSLContext, trusting: Callable[..., RegistrySettings]) -> AsyncIterator[Site]:
    guide = Guide()
    async with (
        answering(guide, tls=server_tls) as registry,
        answering(inside, tls=server_tls) as server,
        Proxy({"registry.test:443": registry.address}).running() as proxy,
    ):
        ports = [one.address.rpartition(":")[2] for one in (registry, server)]
        places = [f"{name}:{port}" for name in ("near.test", "inside.test") for port in ports]
        settings = trusting("registry.test", "inside.test", *places)
        proxies = Proxies(https=proxy.url, bypass=("inside.test",))
        yield Site(guide, registry, server, proxy, replace(settings, proxies=proxies))


@pytest.fixture
def untested_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "_results", [])
