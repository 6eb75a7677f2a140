"""A read-only registry: the end points, the interface of the content that they serve, and the application.

Source: OCI distribution-spec 1.1, "Pull" and "Content Discovery".
"""

from __future__ import annotations

import logging
import ssl
from bisect import bisect_right
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlencode

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hangar_async.errors import HangarError, InvalidValue
from hangar_async.oci import Descriptor, Digest, Reference, Referrer, media_types, referrers_index
from hangar_async.server.connections import LIMITS, Limits
from hangar_async.server.listen import GRACE, listening
from hangar_async.server.page import Page
from hangar_async.server.responses import ContentResponse, Failed, byte_range, document, ignore, refusal

if TYPE_CHECKING:
    from hangar_async.server.htpasswd import Users


class Content(Protocol):
    """A source of repositories, manifests and blobs; all of it may change between two calls."""

    def of_registry(self, registry: str) -> Content | None:
        """Return the content of one registry, under its names there; None without any."""
        ...

    async def repositories(self) -> Sequence[str]:
        """Name the repositories, sorted."""
        ...

    async def tags(self, repository: str) -> Sequence[str] | None:
        """Name the tags of a repository, sorted; None where it does not exist."""
        ...

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor | None:
        """Find a manifest or index of a repository by its tag or digest."""
        ...

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Tell the size in bytes of a blob of a repository; None where it has no such blob."""
        ...

    async def referrers(self, repository: str, digest: Digest) -> Sequence[Referrer]:
        """List the referrers of a manifest in a repository; the manifest need not be there."""
        ...

    def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Read the bytes from `start` up to `stop` of a manifest or blob that was found, in pieces of at most 1 MiB.

        A piece is valid until the next one is read. The iterator may be closed before its end. Content that cannot be
        read, or has another digest, raises an error of this package, instead of the last piece or earlier.
        """
        ...


class Refused(Exception):
    """Raised to end a request with an error response."""

    def __init__(
        self, status: int, code: str, message: str, detail: object, headers: Mapping[str, str] | None = None
    ) -> None:
        self.response = refusal(status, code, message, detail, headers)


class Routes:
    """The end points over some content; `failed` is called with the error of content that cannot be read."""

    def __init__(self, content: Content, failed: Failed) -> None:
        self._content = content
        self._failed = failed

    def route(self, router: web.UrlDispatcher) -> None:
        """Add the end points to a router."""
        for path in ("/v2", "/v2/"):
            router.add_get(path, self.version)
        router.add_get("/v2/_catalog", self.catalog)
        router.add_get(r"/v2/{name:.+}/tags/list", self.tags)
        router.add_get(r"/v2/{name:.+}/manifests/{reference:[^/]+}", self.manifest)
        router.add_get(r"/v2/{name:.+}/blobs/{digest:[^/]+}", self.blob)
        router.add_get(r"/v2/{name:.+}/referrers/{digest:[^/]+}", self.referrers)

    async def version(self, request: web.Request) -> web.StreamResponse:
        """Confirm the protocol (end-1)."""
        return document({})

    async def manifest(self, request: web.Request) -> web.StreamResponse:
        """Send a manifest or index by tag or digest, as it is, whatever types the client accepts (end-3)."""
        content, name = self._content_and_name(request)
        text = request.match_info["reference"]
        manifest = await content.resolve(name, _digest(text) if ":" in text else text)
        if manifest is None:
            raise await _unknown(content, name, "MANIFEST_UNKNOWN", "manifest", text)
        return self._body(request, content, manifest.digest, manifest.size, manifest.media_type)

    async def blob(self, request: web.Request) -> web.StreamResponse:
        """Send a blob or a range of it (end-2)."""
        content, name = self._content_and_name(request)
        digest = _digest(request.match_info["digest"])
        size = await content.size(name, digest)
        if size is None:
            raise await _unknown(content, name, "BLOB_UNKNOWN", "blob", str(digest))
        return self._body(request, content, digest, size, "application/octet-stream")

    async def tags(self, request: web.Request) -> web.StreamResponse:
        """List a repository's tags (end-8)."""
        content, name = self._content_and_name(request)
        tags = await content.tags(name)
        if tags is None:
            raise _no_repository(name)
        return _listed(request, tags, "tags", name)

    async def catalog(self, request: web.Request) -> web.StreamResponse:
        """List the repositories; Docker's addition to the protocol."""
        return _listed(request, await self._of_registry(request).repositories(), "repositories")

    async def referrers(self, request: web.Request) -> web.StreamResponse:
        """List the referrers of a manifest, known or not, of one type where the query names it (end-12)."""
        content, name = self._content_and_name(request)
        digest = _digest(request.match_info["digest"])
        if await content.tags(name) is None:
            raise _no_repository(name)
        referrers = await content.referrers(name, digest)
        headers = {"Content-Type": media_types.OCI_INDEX}
        if "artifactType" in request.query:
            artifact_type = request.query["artifactType"]
            referrers = [referrer for referrer in referrers if referrer.artifact_type == artifact_type]
            headers["OCI-Filters-Applied"] = "artifactType"
        return web.Response(body=referrers_index(referrers), headers=headers)

    def _of_registry(self, request: web.Request) -> Content:
        """Return all content, or, for the `ns` of a mirror, that of one registry."""
        registry = request.query.get("ns")
        if registry is None:
            return self._content
        content = self._content.of_registry(registry)
        if content is None:
            raise Refused(404, "NAME_UNKNOWN", "nothing of this registry is served", {"ns": registry})
        return content

    def _content_and_name(self, request: web.Request) -> tuple[Content, str]:
        name = request.match_info["name"]
        first, _, rest = name.partition("/")
        try:
            # The name may have a registry before the repository, with a port.
            host, path = (first, rest) if ":" in first else ("localhost", name)
            repository = Reference(host, path).repository
        except InvalidValue as error:
            raise Refused(400, "NAME_INVALID", str(error), {"name": name}) from error
        return self._of_registry(request), f"{first}/{repository}" if ":" in first else repository

    def _body(
        self, request: web.Request, content: Content, digest: Digest, size: int, media_type: str
    ) -> web.StreamResponse:
        tag = f'"{digest}"'
        headers = {"Docker-Content-Digest": str(digest), "ETag": tag, "Accept-Ranges": "bytes"}
        if _names(request.headers.get("If-None-Match", ""), tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = media_type
        range_header = request.headers.get("Range", "") if request.method == "GET" else ""
        if request.headers.get("If-Range", tag) != tag:
            range_header = ""
        try:
            part = byte_range(range_header, size)
        except ValueError:
            unit = {"Content-Range": f"bytes */{size}"}
            return refusal(416, "RANGE_INVALID", "no byte of the content is in the range", range_header[:80], unit)
        if part is None:
            return ContentResponse(content.read(digest, 0, size), size, headers, failed=self._failed)
        start, stop = part
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{size}"
        return ContentResponse(content.read(digest, start, stop), stop - start, headers, 206, failed=self._failed)


async def _unknown(content: Content, name: str, code: str, kind: str, reference: str) -> Refused:
    if await content.tags(name) is None:
        return _no_repository(name)
    return Refused(404, code, f"the {kind} is not known to this repository", {"name": name, kind: reference})


def _no_repository(name: str) -> Refused:
    return Refused(404, "NAME_UNKNOWN", "the repository is not known", {"name": name})


def _digest(text: str) -> Digest:
    try:
        return Digest.parse(text)
    except InvalidValue as error:
        raise Refused(400, "DIGEST_INVALID", str(error), {"digest": text}) from error


def _names(header: str, tag: str) -> bool:
    """Tell whether an If-None-Match names an entity tag (RFC 9110, 13.1.2: weak ones count too)."""
    return header.strip() == "*" or tag in (name.strip().removeprefix("W/") for name in header.split(","))


def _listed(request: web.Request, names: Sequence[str], key: str, repository: str = "") -> web.StreamResponse:
    try:
        chosen, headers = page(names, request.query, request.path)
    except ValueError as error:
        message = "n is a number that is not negative"
        raise Refused(400, "PAGINATION_NUMBER_INVALID", message, {"n": str(error)}) from error
    return document({"name": repository, key: chosen} if repository else {key: chosen}, headers)


#: A number of more digits is no number of names.
_MOST_DIGITS = 9
#: The names in one response: it is in memory for each client, however slowly that takes it.
_MOST_NAMES = 10_000


def page(names: Sequence[str], query: Mapping[str, str], path: str) -> tuple[list[str], dict[str, str]]:
    """Choose sorted names by `n` and `last` of a query; return them, and a header with the link to the rest.

    Without `n`, and at most, they are 10,000. The link keeps all other fields of the query. Raises ValueError for an
    `n` that is no number.
    """
    count = query.get("n")
    if count is not None and not (count.isascii() and count.isdigit() and len(count) <= _MOST_DIGITS):
        raise ValueError(count)
    start = bisect_right(names, query["last"]) if "last" in query else 0
    chosen = list(names[start : start + min(_MOST_NAMES, int(count or _MOST_NAMES))])
    if not chosen or start + len(chosen) == len(names):
        return chosen, {}
    rest = urlencode({**query, "last": chosen[-1]}, errors="surrogateescape")
    return chosen, {"Link": f'<{path}?{rest}>; rel="next"'}


#: The path that tells whether the server answers; no user is asked for there.
HEALTH = "/healthz"
#: Docker takes a server for a registry only with this header.
_MARKS = {"Docker-Distribution-Api-Version": "registry/2.0"}
_READING = ("GET", "HEAD")
_log = logging.getLogger(__name__)
_CHALLENGE = {"WWW-Authenticate": 'Basic realm="hangar_async", charset="UTF-8"'}


@asynccontextmanager
async def serving(
    content: Content,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    users: Users | None = None,
    page: Page | None = None,
    failed: Failed = ignore,
    middlewares: Iterable[Middleware] = (),
    grace: float = GRACE,
    limits: Limits = LIMITS,
    answered: Callable[[web.BaseRequest, web.StreamResponse, float], None] | None = None,
) -> AsyncIterator[str]:
    """Serve content as a registry, and yield its address, HOST:PORT; port 0 is any free one, "" any address.

    With `users` only these are served, but for `/healthz`; `page` is shown at `/`; `answered` is called with each
    request, its response and the seconds that it took; `failed` is called with the error of content that
    cannot be read; the middlewares are around all of it. Raises ListenError. At the end of the block no new connection
    is accepted, running responses get `grace` seconds to end, and all connections are closed.
    """
    app = application(content, users=users, page=page, failed=failed, middlewares=middlewares)
    async with listening(app, host, port, tls=tls, grace=grace, limits=limits, answered=answered) as address:
        yield address


def application(
    content: Content,
    *,
    users: Users | None = None,
    page: Page | None = None,
    failed: Failed = ignore,
    middlewares: Iterable[Middleware] = (),
) -> web.Application:
    """Make the registry as an application; the middlewares are around all of it, the first one outermost."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give each response the headers of a registry, and each refusal the form of the specification."""
        try:
            if users is not None and request.path != HEALTH:
                await _require_user(users, request)
            response = await handler(request)
        except Refused as refused:
            response = refused.response
        except HangarError as error:
            failed(error)
            response = refusal(500, "UNKNOWN", "the content cannot be read; the server says why")
        except (web.HTTPMethodNotAllowed, web.HTTPNotFound):
            response = _nothing_here(request)
        except (web.HTTPException, ConnectionError):
            raise
        except Exception as error:
            _log.exception("a request failed")
            failed(HangarError(f"unexpected {type(error).__name__}: {error}", advice="--debug shows where: report it"))
            response = refusal(500, "UNKNOWN", "this is a fault of the server")
        response.headers.update(_MARKS)
        return response

    app = web.Application(middlewares=[*middlewares, guard])
    Routes(content, failed).route(app.router)
    app.router.add_get(HEALTH, health)
    if page is not None:
        app.router.add_get("/", page.respond)
    return app


async def health(_: web.Request) -> web.StreamResponse:
    """Say that requests are answered; nothing is read for it."""
    return web.Response(text="ok\n", headers={"Cache-Control": "no-store"})


async def _require_user(users: Users, request: web.Request) -> None:
    from hangar_async.server.htpasswd import TooManyChecks

    try:
        is_known = await users.know(request.headers.get("Authorization", ""), request.remote or "")
    except TooManyChecks:
        headers = {"Retry-After": "1"}
        raise Refused(429, "TOOMANYREQUESTS", "too many passwords at once", None, headers) from None
    if not is_known:
        raise Refused(401, "UNAUTHORIZED", "authentication required", None, _CHALLENGE)


def _nothing_here(request: web.Request) -> web.StreamResponse:
    if request.method in _READING:
        return refusal(404, "NAME_UNKNOWN", "nothing is served here", request.path)
    return refusal(405, "UNSUPPORTED", "this registry can only be read", headers={"Allow": ", ".join(_READING)})
