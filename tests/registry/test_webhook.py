"""Webhooks are sent to where they are for, and leave no trace of it."""

from __future__ import annotations

import logging

import pytest
from aiohttp import web

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError, UsageError
from hangar_async.registry.webhook import check_webhook, post_webhook
from hangar_async.server.listen import listening


async def test_json_is_posted_and_nothing_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "hangar_async.registry")
    got: list[tuple[str, str, bytes]] = []

    async def take(request: web.Request) -> web.Response:
        got.append((request.path_qs, request.headers["Content-Type"], await request.read()))
        return web.Response(status=201)

    app = web.Application()
    app.router.add_post("/hook/s3cret", take)
    async with listening(app) as address:
        assert await post_webhook(RegistrySettings(), f"http://{address}/hook/s3cret?a=b", b'{"x": 1}') == 201
        assert await post_webhook(RegistrySettings(), f"http://{address}/other", b"{}") == 404
    assert got == [("/hook/s3cret?a=b", "application/json", b'{"x": 1}')]
    assert not caplog.records
    with pytest.raises(NetworkError):
        await post_webhook(RegistrySettings(), f"http://{address}/hook/s3cret", b"{}")
    assert not caplog.records


def test_what_is_no_address_of_the_web() -> None:
    with pytest.raises(UsageError) as raised:
        check_webhook("ftp://s3cret")
    assert "s3cret" not in str(raised.value)
