"""Faults of a server on the wire, as a script says."""

from __future__ import annotations

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import NoReturn, Protocol

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.typedefs import Handler
from aiohttp.web_request import BaseRequest

from hangar_async.server.responses import ContentResponse

Pieces = AsyncIterator[bytes | memoryview]


class Fault(Protocol):
    """One way to go wrong: answers a request, with or without the one who would answer it rightly."""

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse: ...


@dataclass
class Rule:
    """A fault, and the requests that it meets: the `skip`-th one of those that match is the first, `times` in all."""

    fault: Fault
    path: re.Pattern[str]
    method: str | None
    ranged: bool | None
    skip: int
    times: int | None
    #: How many requests matched, and how many of them met the fault.
    seen: int = 0
    used: int = 0

    def takes(self, request: web.Request) -> bool:
        """Whether a request meets the fault; counts it."""
        if self.method not in (None, request.method) or not self.path.search(request.path_qs):
            return False
        if self.ranged is not None and self.ranged != ("Range" in request.headers):
            return False
        self.seen += 1
        if self.seen <= self.skip or (self.times is not None and self.used >= self.times):
            return False
        self.used += 1
        return True


@dataclass
class Script:
    """The faults of a server, in their order: the first rule that takes a request decides."""

    rules: list[Rule] = field(default_factory=list)

    def add(
        self,
        path: str,
        fault: Fault,
        *,
        method: str | None = None,
        ranged: bool | None = None,
        skip: int = 0,
        times: int | None = 1,
    ) -> Rule:
        """Let requests whose path matches the pattern meet a fault: `times` of them (None: all), after `skip`.

        `ranged` picks requests with a Range, or without one.
        """
        rule = Rule(fault, re.compile(path), method, ranged, skip, times)
        self.rules.append(rule)
        return rule

    async def answer(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request as the script says."""
        for rule in self.rules:
            if rule.takes(request):
                return await rule.fault(request, handler)
        return await handler(request)


@dataclass(frozen=True)
class Status:
    """Answers with a status, such as 429 with Retry-After, or a redirect."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return web.Response(status=self.status, headers=self.headers, body=self.body)


@dataclass(frozen=True)
class Function:
    """Answers by a function of the request, whatever is served."""

    answer: Callable[[web.Request], Awaitable[web.StreamResponse]]

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await self.answer(request)


def redirect(location: str, status: int = 307) -> Status:
    """Send a client elsewhere."""
    return Status(status, {"Location": location})


@dataclass(frozen=True)
class Close:
    """Closes the connection before any header, by FIN or RST."""

    reset: bool = False

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return NoAnswer(self.reset)


@dataclass(frozen=True)
class Cut:
    """Closes the connection after `after` bytes of a body whose Content-Length is right, by FIN or RST."""

    after: int
    reset: bool = False

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await _with_pieces(request, handler, lambda pieces: self._cut(pieces, request))

    async def _cut(self, pieces: Pieces, request: web.Request) -> Pieces:
        rest = self.after
        async for piece in pieces:
            yield piece[:rest]
            rest -= min(rest, len(piece))
            if not rest:
                break
        _end(request, self.reset)


@dataclass(frozen=True)
class Unended:
    """Sends the whole body in chunks, and closes the connection in place of the chunk that ends it."""

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        assert isinstance(answer, ContentResponse)
        chunked = web.StreamResponse()
        chunked.enable_chunked_encoding()
        await chunked.prepare(request)
        async for piece in answer.pieces:
            await chunked.write(bytes(piece))
        assert request.transport is not None
        request.transport.close()
        return chunked


@dataclass(frozen=True)
class CutBody:
    """Closes the connection when `after` bytes of what a client sends were taken, by FIN or RST."""

    after: int
    reset: bool = False

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        request[CUT] = self
        return await handler(request)


#: Where a request notes what cuts its body.
CUT = web.RequestKey("cut", CutBody)


@dataclass(frozen=True)
class Lost:
    """Lets everything happen, but closes the connection before any header of the answer."""

    reset: bool = False

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        await handler(request)
        return NoAnswer(self.reset)


@dataclass(frozen=True)
class Stall:
    """Sends `after` bytes of a body, and the others when `until` is set."""

    after: int
    until: asyncio.Event

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        return await _with_pieces(request, handler, self._stall)

    async def _stall(self, pieces: Pieces) -> Pieces:
        rest = self.after
        async for piece in pieces:
            yield piece[:rest]
            if rest < len(piece):
                await self.until.wait()
                yield piece[rest:]
            rest -= min(rest, len(piece))


@dataclass(frozen=True)
class Hold:
    """Answers when `until` is set; `reached` is set when the request is there."""

    until: asyncio.Event
    reached: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        self.reached.set()
        await self.until.wait()
        return await handler(request)


@dataclass(frozen=True)
class Bytes:
    """Sends other bytes, with the Content-Length that is theirs; what is changed is the body as asked for."""

    change: Callable[[bytes], bytes]

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        if isinstance(answer, ContentResponse):
            data = self.change(b"".join([bytes(piece) async for piece in answer.pieces]))
            answer.content_length = len(data)
            answer.pieces = _pieces(data)
        return answer


def flipped(data: bytes) -> bytes:
    """Flip a bit in the middle."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]


@dataclass(frozen=True)
class Headers:
    """Answers rightly, with these headers changed; None takes one away."""

    changes: Mapping[str, str | None]

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        answer = await handler(request)
        for name, value in self.changes.items():
            answer.headers.popall(name, None)
            if value is not None:
                answer.headers[name] = value
        return answer


@dataclass
class PullQuota:
    """Answers rightly and tells a quota of pulls, as Docker Hub does; refuses more of them. HEADs do not count."""

    limit: int
    window: int = 21600
    pulls: int = 0

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.method == "GET":
            if self.pulls >= self.limit:
                return web.Response(status=429, headers={"Retry-After": "21600"})
            self.pulls += 1
        answer = await handler(request)
        for name, value in (("limit", self.limit), ("remaining", self.limit - self.pulls)):
            answer.headers[f"ratelimit-{name}"] = f"{value};w={self.window}"
        return answer


class IgnoreRange:
    """Sends the whole with 200, whatever range is asked for."""

    async def __call__(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        headers = request.headers.copy()
        headers.popall("Range", None)
        clone = request.clone(headers=headers)
        return await handler(clone)


class NoAnswer(web.StreamResponse):
    """Nothing: the connection ends, by FIN or RST."""

    def __init__(self, reset: bool) -> None:
        super().__init__()
        self._reset = reset

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        _end(request, self._reset)


def _end(request: BaseRequest, reset: bool) -> NoReturn:
    """Make the server close the connection when all that was written is with the kernel."""
    if reset and request.transport is not None:
        connection: socket.socket = request.transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    raise ConnectionResetError("as the script says")


async def _with_pieces(
    request: web.Request, handler: Handler, change: Callable[[Pieces], Pieces]
) -> web.StreamResponse:
    answer = await handler(request)
    if isinstance(answer, ContentResponse):
        answer.pieces = change(answer.pieces)
    return answer


async def _pieces(data: bytes) -> Pieces:
    yield data
