"""Fixtures of this room."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable

import pytest
import uvloop

from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.http import self_test
from tests.fakes.registry import answering
from tests.registry.http.rig import Play, Scene
from tests.registry.rig import (
    Answer,
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
def untested_aiohttp(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(self_test, "_results", [])
