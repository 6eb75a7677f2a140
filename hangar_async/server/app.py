"""A read-only registry: the pull side of the OCI distribution protocol over any content."""

from __future__ import annotations

import logging
import ssl
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from hangar_async.errors import HangarError
from hangar_async.server.listen import GRACE, LIMITS, Limits, listening
from hangar_async.server.page import Page
from hangar_async.server.responses import Failed, pass_over, refusal
from hangar_async.server.routes import Content, Endpoints, Refused

if TYPE_CHECKING:
    from hangar_async.server.htpasswd import Users

#: Docker takes a server for a registry only with the first of these headers.
_MARKS = {"Docker-Distribution-Api-Version": "registry/2.0", "Server": "hangar_async"}
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
    failed: Failed = pass_over,
    middlewares: Iterable[Middleware] = (),
    grace: float = GRACE,
    limits: Limits = LIMITS,
) -> AsyncIterator[str]:
    """Serve content as a registry, and yield its address, HOST:PORT; port 0 is any free one, "" any address.

    With `users` only these are served; `page` is shown at `/`; `failed` is called with the error of content that
    cannot be read; the middlewares are around all of it. Raises ListenError. At the end of the block no new connection
    is accepted, running responses get `grace` seconds to end, and all connections are closed.
    """
    app = application(content, users=users, page=page, failed=failed, middlewares=middlewares)
    async with listening(app, host, port, tls=tls, grace=grace, limits=limits) as address:
        yield address


def application(
    content: Content,
    *,
    users: Users | None = None,
    page: Page | None = None,
    failed: Failed = pass_over,
    middlewares: Iterable[Middleware] = (),
) -> web.Application:
    """Make the registry as an application; the middlewares are around all of it, the first one outermost."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Give each response the headers of a registry, and each refusal the form of the specification."""
        try:
            if users is None or await users.know(request.headers.get("Authorization", "")):
                response = await handler(request)
            else:
                response = refusal(401, "UNAUTHORIZED", "authentication required", headers=_CHALLENGE)
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
    Endpoints(content, failed).route(app.router)
    if page is not None:
        app.router.add_get("/", page.respond)
    return app


def _nothing_here(request: web.Request) -> web.StreamResponse:
    if request.method in _READING:
        return refusal(404, "NAME_UNKNOWN", "nothing is served here", request.path)
    return refusal(405, "UNSUPPORTED", "this registry can only be read", headers={"Allow": ", ".join(_READING)})
