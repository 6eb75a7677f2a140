from __future__ import annotations

import asyncio
import gzip

import pytest
from aiohttp import web
from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch
from hangar_async.oci.digest import Digest
from hangar_async.registry.http.transport import Transport
from tests.fakes.registry import answering
from tests.registry.rig import (
    MANIFEST,
    get_manifest,
    manifest_error,
    manifest_server,
    serve_manifest,
)


async def test_an_endless_body_is_given_up_at_its_limit() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/":
            return web.Response()
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    with pytest.raises(ContentError, match="larger than"):
        await get_manifest(handle)


async def test_wrong_bytes_of_a_manifest_are_refused_with_the_encoding() -> None:
    packed = manifest_server(gzip.compress(MANIFEST), Content_Encoding="gzip")
    with pytest.raises(DigestMismatch, match=r"Content-Encoding 'gzip'"):
        await get_manifest(packed, digest=Digest.of(MANIFEST))
    served, _ = await get_manifest(manifest_server(Content_Encoding="aws-chunked"))
    assert served.raw == MANIFEST


async def test_an_endless_error_body_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hangar_async.registry.http.response._ERROR_BODY_TIMEOUT", 0.1)

    async def handle(request: web.Request) -> web.StreamResponse:
        if request.path == "/v2/":
            return web.Response()
        response = web.StreamResponse(status=503)
        await response.prepare(request)
        await response.write(b"<")
        await asyncio.Event().wait()
        return response

    assert (await manifest_error(handle)).status == 503


async def test_a_response_names_the_host_that_was_asked() -> None:
    async with (
        answering(serve_manifest) as server,
        Transport(RegistrySettings(), 1) as transport,
        await transport.send(URL(f"http://{server.address}/x"), "named", headers={}, internal=True) as response,
    ):
        assert (response.host, response.redirected, response.status) == ("named", False, 200)
        assert str(response.url) == f"http://{server.address}/x"
