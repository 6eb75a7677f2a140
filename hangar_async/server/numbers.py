"""A server of numbers for Prometheus and of probes, for a command without another address."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web

from hangar_async.errors import UsageError
from hangar_async.server.app import HEALTH, health
from hangar_async.server.listen import listening

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

#: The path that tells whether the work can be done.
READY = "/readyz"


def new_registry() -> CollectorRegistry:
    """Return a registry for numbers; raises UsageError where prometheus-client is not installed."""
    try:
        from prometheus_client import CollectorRegistry
    except ImportError as error:
        raise UsageError(
            "--metrics needs prometheus-client: install it with pip install 'hangar_async[metrics]'"
        ) from error
    return CollectorRegistry()


@asynccontextmanager
async def serving_numbers(
    registry: CollectorRegistry, host: str, port: int, *, problem: Callable[[], str] | None = None
) -> AsyncIterator[str]:
    """Serve numbers at `/metrics` during the block; yields the address. Raises ListenError.

    With `problem`, `/healthz` answers too, and `/readyz`: 200 where it returns "", else 503 with its text.
    """

    async def respond(_: web.Request) -> web.StreamResponse:
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        return web.Response(body=generate_latest(registry), headers={"Content-Type": CONTENT_TYPE_LATEST})

    async def ready(_: web.Request) -> web.StreamResponse:
        text = problem() if problem is not None else ""
        return web.Response(
            text=f"{text or 'ok'}\n", status=503 if text else 200, headers={"Cache-Control": "no-store"}
        )

    app = web.Application()
    app.router.add_get("/metrics", respond)
    if problem is not None:
        app.router.add_get(HEALTH, health)
        app.router.add_get(READY, ready)
    async with listening(app, host, port) as address:
        yield address
