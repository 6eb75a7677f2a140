"""Helpers of this room's tests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.client import RegistryClient
from tests.fakes.registry import FakeRegistry
from tests.registry.rig import (
    DATA,
    MANIFEST,
    Answer,
    Proxy,
)


class Guide:
    """A registry that sends its clients to `address`, by each of the ways that the protocol has."""

    def __init__(self) -> None:
        self.address = ""

    async def __call__(self, request: web.Request) -> web.Response:
        if request.path == "/v2/token/manifests/1" and "Authorization" not in request.headers:
            challenge = f'Bearer realm="{self.address}",service="s"'
            return web.Response(status=401, headers={"WWW-Authenticate": challenge})
        if request.path.startswith("/v2/redirect/"):
            return web.Response(status=307, headers={"Location": self.address})
        if request.path == "/v2/upload/blobs/uploads/":
            return web.Response(status=202, headers={"Location": self.address})
        return web.Response(status=404) if "/blobs/" in request.path else web.Response(body=MANIFEST)


async def inside(request: web.Request) -> web.Response:
    """Something on this machine: a storage, a token server, a place for uploads."""
    if request.method == "GET" and "scope" in request.query:
        return web.json_response({"token": "t"})
    return web.Response(body=DATA if request.method == "GET" else b"", status=201 if request.method == "PUT" else 200)


@dataclass
class Site:
    """A registry behind a proxy that has it as `registry.test`, and a server on this machine, by HTTPS both."""

    guide: Guide
    registry: FakeRegistry
    inside: FakeRegistry
    proxy: Proxy
    settings: RegistrySettings


Scene = Callable[[FakeRegistry, RegistryClient], Awaitable[None]]
Play = Callable[[Answer, Scene], None]
