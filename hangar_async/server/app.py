"""A read-only registry: the pull side of the OCI distribution protocol over any content.

Source: OCI distribution-spec 1.1, "Pull" and "Content Discovery".
"""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
from hangar_async.oci.reference import Reference
from hangar_async.server.answers import Body, byte_range, refusal
from hangar_async.server.content import Content

#: Docker asks for this before it believes that it talks to a registry.
_VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
_READING = ("GET", "HEAD")
#: Seconds that answers under way get to end when the server closes.
_GRACE = 2.0


@asynccontextmanager
async def serving(
    content: Content,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    middlewares: Iterable[Middleware] = (),
    grace: float = _GRACE,
) -> AsyncIterator[str]:
    """Serve content as a registry, and yield its address, HOST:PORT; port 0 is any free one.

    On leaving, nothing new is accepted, answers under way get `grace` seconds to end, and all connections are closed.
    """
    async with listening(application(content, middlewares), host, port, tls=tls, grace=grace) as address:
        yield address


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = _GRACE,
) -> AsyncIterator[str]:
    """Run an application on a socket, as `serving` does."""
    # A client that goes away ends its answer: nothing is read that nobody takes.
    runner = web.AppRunner(app, access_log=None, handler_cancellation=True, shutdown_timeout=grace)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port, ssl_context=tls)
        await site.start()
        yield f"[{host}]:{site.port}" if ":" in host else f"{host}:{site.port}"
    finally:
        await runner.cleanup()


def application(content: Content, middlewares: Iterable[Middleware] = ()) -> web.Application:
    """Make the registry as an application; the middlewares are around all of it, the first one outermost."""
    app = web.Application(middlewares=[*middlewares, _versioned])
    registry = _Registry(content)
    for path in ("/v2", "/v2/"):
        app.router.add_get(path, registry.version)
    app.router.add_get("/v2/_catalog", registry.catalog)
    app.router.add_get(r"/v2/{name:.+}/tags/list", registry.tags)
    app.router.add_get(r"/v2/{name:.+}/manifests/{reference:[^/]+}", registry.manifest)
    app.router.add_get(r"/v2/{name:.+}/blobs/{digest:[^/]+}", registry.blob)
    return app


@web.middleware
async def _versioned(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Give every answer the registry's mark, and the router's refusals the specification's form."""
    try:
        answer = await handler(request)
    except _Refused as refused:
        answer = refused.answer
    except (web.HTTPMethodNotAllowed, web.HTTPNotFound):
        if request.method in _READING:
            answer = refusal(404, "NAME_UNKNOWN", "nothing is served here", request.path)
        else:
            answer = refusal(
                405, "UNSUPPORTED", "this registry can only be read", headers={"Allow": ", ".join(_READING)}
            )
    answer.headers.update(_VERSION)
    return answer


class _Refused(Exception):
    """Ends a request with this answer."""

    def __init__(self, status: int, code: str, message: str, detail: object) -> None:
        self.answer = refusal(status, code, message, detail)


class _Registry:
    """The end points."""

    def __init__(self, content: Content) -> None:
        self._content = content

    async def version(self, request: web.Request) -> web.StreamResponse:
        """Say that the protocol is spoken here (end-1)."""
        return web.json_response({})

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """Send a manifest or index by tag or digest, as it is whatever is accepted (end-3)."""
        name, text = _name(request), request.match_info["reference"]
        found = await self._content.resolve(name, _digest(text) if ":" in text else text)
        if found is None:
            raise await self._unknown(name, "MANIFEST_UNKNOWN", "manifest", text)
        return self._body(request, found.digest, found.size, found.media_type)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """Send a blob or a range of it (end-2)."""
        name, digest = _name(request), _digest(request.match_info["digest"])
        size = await self._content.size(name, digest)
        if size is None:
            raise await self._unknown(name, "BLOB_UNKNOWN", "blob", str(digest))
        return self._body(request, digest, size, "application/octet-stream")

    async def tags(self, request: web.Request) -> web.StreamResponse:
        """List a repository's tags (end-8)."""
        name = _name(request)
        tags = await self._content.tags(name)
        if tags is None:
            raise _Refused(404, "NAME_UNKNOWN", "the repository is not known", {"name": name})
        page, headers = _page(request, tags)
        return web.json_response({"name": name, "tags": page}, headers=headers)

    async def catalog(self, request: web.Request) -> web.StreamResponse:
        """List the repositories; Docker's addition to the protocol."""
        page, headers = _page(request, await self._content.repositories())
        return web.json_response({"repositories": page}, headers=headers)

    def _body(self, request: web.Request, digest: Digest, size: int, media_type: str) -> web.StreamResponse:
        tag = f'"{digest}"'
        headers = {"Docker-Content-Digest": str(digest), "ETag": tag, "Accept-Ranges": "bytes"}
        if _names(request.headers.get("If-None-Match", ""), tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = media_type
        asked = request.headers.get("Range", "") if request.method == "GET" else ""
        if request.headers.get("If-Range", tag) != tag:
            asked = ""
        try:
            part = byte_range(asked, size)
        except ValueError:
            unit = {"Content-Range": f"bytes */{size}"}
            return refusal(416, "RANGE_INVALID", "no byte of the content is in the range", asked[:80], unit)
        if part is None:
            return Body(self._content.read(digest, 0, size), size, headers)
        start, stop = part
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return Body(self._content.read(digest, start, stop), stop - start, headers, 206)

    async def _unknown(self, name: str, code: str, what: str, reference: str) -> _Refused:
        if await self._content.tags(name) is None:
            return _Refused(404, "NAME_UNKNOWN", "the repository is not known", {"name": name})
        return _Refused(404, code, f"the {what} is not known to this repository", {"name": name, what: reference})


def _name(request: web.Request) -> str:
    name = request.match_info["name"]
    try:
        return Reference("localhost", name).repository
    except InvalidValue as error:
        raise _Refused(400, "NAME_INVALID", str(error), {"name": name}) from error


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidValue as error:
        raise _Refused(400, "DIGEST_INVALID", str(error), {"digest": text}) from error


def _names(header: str, tag: str) -> bool:
    """Whether an If-None-Match names an entity tag (RFC 9110, 13.1.2: weak ones count too)."""
    return tag in (one.strip().removeprefix("W/") for one in header.split(","))


def _page(request: web.Request, names: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Choose what `n` and `last` ask for, and link to the rest (distribution-spec, "Listing Tags")."""
    count, last = request.query.get("n"), request.query.get("last", "")
    if count is not None and not (count.isascii() and count.isdigit() and len(count) < 10):
        raise _Refused(400, "PAGINATION_NUMBER_INVALID", "n is a number that is not negative", {"n": count})
    rest = [name for name in names if name > last]
    page = rest if count is None else rest[: int(count)]
    if not page or len(page) == len(rest):
        return page, {}
    query = urlencode({"n": str(count), "last": page[-1]})
    return page, {"Link": f'<{request.path}?{query}>; rel="next"'}
