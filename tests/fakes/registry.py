"""A registry on a real socket that notes what it is asked, and goes wrong where a script says so."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler
from yarl import URL

from hangar_async.oci.digest import Digest
from hangar_async.server.app import serving
from hangar_async.server.responses import ContentResponse, refusal
from hangar_async.testing.images import Built
from hangar_async.testing.memory import MemoryContent
from tests.fakes.auth import GRACE, Auth, TokenServer
from tests.fakes.faults import Fault, Function, Pieces, Rule, Script
from tests.fakes.harbor import Harbor
from tests.fakes.pushes import Pushes


@dataclass
class Asked:
    """A request, and what became of it: the status (None: none was sent yet) and the bytes of the body sent."""

    method: str
    path: str
    headers: Mapping[str, str]
    #: As it came on the wire, with its query.
    raw_path: str = ""
    status: int | None = None
    sent: int = 0

    @property
    def query(self) -> Mapping[str, str]:
        """The fields of the query."""
        return URL(self.raw_path).query

    @property
    def authorization(self) -> str | None:
        """The credentials of the request."""
        return self.headers.get("Authorization")


@dataclass
class FakeRegistry:
    """The content, the clients, the faults and the requests; all of it may be changed while it runs."""

    content: MemoryContent = field(default_factory=MemoryContent)
    auth: Auth | None = None
    faults: Script = field(default_factory=Script)
    #: What it takes; None: it can only be read.
    pushes: Pushes | None = None
    #: Where it is a Harbor: it takes what belongs to a project.
    harbor: Harbor | None = None
    #: HOST:PORT, and the scheme before it.
    address: str = ""
    scheme: str = "http"
    requests: list[Asked] = field(default_factory=list)
    #: Requests that are answered now, and the most that ever were at once.
    active: int = 0
    peak: int = 0

    def add(self, name: str, built: Built) -> Digest:
        """Put a built image in, as `REPOSITORY[:TAG]`."""
        return self.content.add(name, built)

    def fail(
        self,
        path: str,
        fault: Fault,
        *,
        method: str | None = None,
        ranged: bool | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Rule:
        """Let requests go wrong; see Script.add. Requests that are refused for who asks do not count."""
        return self.faults.add(path, fault, method=method, ranged=ranged, skip=skip, times=times)

    def asked(self, path: str = "", method: str | None = None) -> list[Asked]:
        """List the requests whose path matches the pattern."""
        return [one for one in self.requests if re.search(path, one.path) and method in (None, one.method)]

    def secrets(self) -> list[str]:
        """List the Authorization headers of all requests."""
        return [secret for request in self.requests if (secret := request.authorization) is not None]

    def blobs_asked(self) -> Counter[str]:
        """Count the requests for each blob, by its digest."""
        return Counter(request.path.rpartition("/")[2] for request in self.asked("/blobs/sha", "GET"))

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Note a request and answer it; the middleware around the registry."""
        noted = Asked(request.method, request.path_qs, request.headers, request.raw_path)
        self.requests.append(noted)
        self.active += 1
        self.peak = max(self.peak, self.active)
        answered: web.StreamResponse | None = None
        try:
            # Other requests come in before this one is answered: the peak is as high as the client goes.
            for _ in range(3):
                await asyncio.sleep(0)
            answered = await self._answer(request, handler)
            noted.status = answered.status
        finally:
            if not isinstance(answered, ContentResponse):
                self.active -= 1
        if isinstance(answered, ContentResponse):
            # It is under way until its body is sent, which happens after the middlewares.
            answered.pieces = _Watched(answered.pieces, noted, self)
        return answered

    async def _answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path == "/token" and isinstance(self.auth, TokenServer):
            return await self.auth.answer(request)
        if self.harbor is not None:
            if request.path.startswith("/api/"):
                return await self.harbor(request)
            if request.method == "POST" and request.path.split("/")[2] not in self.harbor.projects:
                return refusal(404, "NOT_FOUND", f"project {request.path.split('/')[2]} not found")
        challenge = self.auth.challenge(request) if self.auth else None
        if challenge is not None:
            return refusal(401, "UNAUTHORIZED", "authentication required", headers={"WWW-Authenticate": challenge})
        pushes = self.pushes
        return await self.faults.answer(request, partial(pushes.answer, handler=handler) if pushes else handler)


class _Watched:
    """Pieces on their way: counts what is sent, and says when it is over."""

    def __init__(self, pieces: Pieces, noted: Asked, registry: FakeRegistry) -> None:
        self._pieces = pieces
        self._noted = noted
        self._registry: FakeRegistry | None = registry
        self._last = 0

    def __aiter__(self) -> _Watched:
        return self

    async def __anext__(self) -> bytes | memoryview:
        # Who asks for the next one has sent the one before.
        self._noted.sent += self._last
        self._last = 0
        piece = await anext(self._pieces)
        self._last = len(piece)
        return piece

    async def aclose(self) -> None:
        if self._registry is not None:
            self._registry.active -= 1
            self._registry = None
        close = getattr(self._pieces, "aclose", None)
        if close is not None:
            await close()


@asynccontextmanager
async def fake_registry(
    content: MemoryContent | None = None,
    *,
    auth: Auth | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
    pushable: bool = False,
) -> AsyncIterator[FakeRegistry]:
    """Run a fake registry during the block; what is still being answered at its end is broken off."""
    registry = FakeRegistry(content or MemoryContent(), auth, scheme="https" if tls else "http")
    registry.pushes = Pushes(registry.content) if pushable else None

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        return await registry.answer(request, handler)

    async with serving(registry.content, host, port, tls=tls, middlewares=[answer], grace=GRACE) as registry.address:
        yield registry


@asynccontextmanager
async def answering(
    answer: Callable[[web.Request], Awaitable[web.StreamResponse]],
    *,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
) -> AsyncIterator[FakeRegistry]:
    """Run a fake registry in which one function answers all requests."""
    async with fake_registry(tls=tls, host=host) as registry:
        registry.fail("", Function(answer), times=None)
        yield registry
