"""Responses: streamed bodies, ranges of them, and errors in the form of the specification."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from hangar_async.errors import HangarError

_RANGE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.ASCII | re.IGNORECASE)
#: More digits are no place in any content, and much work to read.
_MOST_DIGITS = 20
#: What is said of a body, and not of what is sent in its place when it cannot be read.
_OF_THE_BODY = ("Accept-Ranges", "Content-Range", "Content-Type", "Docker-Content-Digest", "ETag")
#: Told of what could not be read, for whoever runs the server.
Failed = Callable[[HangarError], None]


def pass_over(error: HangarError) -> None:
    """Tell nobody."""


class Answer(web.Response):
    """A small answer; a client that does not take it is cut off."""

    _request: BaseRequest | None = None

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Make the headers ready."""
        self._request = request
        return await super().prepare(request)

    async def write_eof(self, data: bytes = b"") -> None:
        """Send headers and body."""
        if self._request is None:
            await super().write_eof(data)
            return
        with Watch(self._request):
            await super().write_eof(data)


class Body(web.StreamResponse):
    """An answer whose body of `size` bytes is read from `pieces` while it is sent; for HEAD it is not read.

    Until it is sent, a middleware may change the headers, and put something else in the place of `pieces`, of which
    each is sent before the next one is asked for. What goes wrong before the first piece is answered as an error;
    later on the connection is closed, so that the body ends too early for its Content-Length.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes | memoryview],
        size: int,
        headers: Mapping[str, str],
        status: int = 200,
        *,
        failed: Failed = pass_over,
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = size
        self.pieces = pieces
        self._failed = failed

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body."""
        if self.prepared:
            return await super().prepare(request)
        async with AsyncExitStack() as stack:
            if close := getattr(self.pieces, "aclose", None):
                stack.push_async_callback(close)
            piece: bytes | memoryview | None = None
            if request.method != "HEAD":
                try:
                    piece = await anext(self.pieces, None)
                except HangarError as error:
                    self._failed(error)
                    piece = self._refuse()
            writer = await super().prepare(request)
            if writer is not None and request.method != "HEAD":
                await self._send(request, writer, piece)
            await self.write_eof()
        return writer

    async def _send(self, request: BaseRequest, writer: AbstractStreamWriter, piece: bytes | memoryview | None) -> None:
        left = self.content_length or 0
        with Outlet(request, writer) as outlet:
            while piece is not None:
                await outlet.send(piece)
                left -= len(piece)
                try:
                    piece = await anext(self.pieces, None)
                except HangarError as error:
                    self._failed(error)
                    break
            if left > 0:
                raise ConnectionResetError("the content ended too early")

    def _refuse(self) -> bytes:
        """Become an error answer; return its body."""
        answer = refusal(500, "UNKNOWN", "the content cannot be read; the server says why")
        for name in _OF_THE_BODY:
            self.headers.popall(name, None)
        self.headers["Content-Type"] = answer.headers["Content-Type"]
        self.set_status(answer.status)
        assert isinstance(answer.body, bytes)  # noqa: S101 - it was made of text
        self.content_length = len(answer.body)
        return answer.body


def document(fields: object, headers: Mapping[str, str] | None = None, status: int = 200) -> Answer:
    """Make an answer that is a JSON document."""
    return Answer(text=json.dumps(fields), status=status, headers=headers, content_type="application/json")


def refusal(
    status: int, code: str, message: str, detail: object = None, headers: Mapping[str, str] | None = None
) -> Answer:
    """Make an error answer (distribution-spec, "Error Codes")."""
    error = {"code": code, "message": message, "detail": detail}
    return document({"errors": [error]}, headers, status)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Read a Range header for content of `size` bytes: start, and stop behind the last byte.

    None where the whole is to be sent: no range, several, or one that makes no sense. Raises ValueError where no byte
    of the content is in the range. Source: RFC 9110, 14.1.2 and 14.2.
    """
    match = _RANGE.fullmatch(text)
    if not match or match[1] == match[2] == "" or max(map(len, match.groups())) > _MOST_DIGITS:
        return None
    if not match[1]:
        start, stop = max(0, size - int(match[2])), size
    else:
        start, stop = int(match[1]), min(size, int(match[2]) + 1) if match[2] else size
        if match[2] and int(match[2]) < start:
            return None
    if start >= stop:
        raise ValueError(text)
    return start, stop


#: Seconds in which a client has to take something of what is sent to it.
STALLED = 60.0
#: Where an application keeps another number of them.
STALLED_KEY = web.AppKey("stalled", float)
#: Over TLS a piece is encrypted, and so copied, at once: what waits of it then is at most two slices.
_SLICE = 64 << 10


class Watch:
    """Cuts off the client of a request when it takes nothing for some time; `sent` is what it has taken so far."""

    def __init__(self, request: BaseRequest) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client is gone")
        self.transport = request.transport
        self.sent = 0
        self._stalled = request.app.get(STALLED_KEY, STALLED) if isinstance(request, web.Request) else STALLED
        self._seen = (-1, 0)
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Self:
        self._set()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(self._stalled, self._look)

    def _look(self) -> None:
        now = (self.sent, self.transport.get_write_buffer_size())
        if now == self._seen and now[1]:
            self.transport.abort()
        else:
            self._seen = now
            self._set()


class Outlet:
    """Sends pieces to the client of a request; a piece may be used again when `send` is over.

    Leaving in the middle of a piece ends the connection on the spot: what the transport still holds of it is about to
    be used again.
    """

    def __init__(self, request: BaseRequest, writer: AbstractStreamWriter) -> None:
        self._watch = Watch(request)
        self._transport = self._watch.transport
        self._writer = writer
        self._slice = _SLICE if self._transport.get_extra_info("sslcontext") else None

    def __enter__(self) -> Self:
        # To be told when all is sent, not when only some is left; asyncio's TLS would wait for less than nothing.
        self._transport.set_write_buffer_limits(high=1 if self._slice else 0, low=0)
        self._watch.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.__exit__(kind, error, trace)
        if error is not None and self._transport.get_write_buffer_size():
            self._transport.abort()
        else:
            self._transport.set_write_buffer_limits()

    async def send(self, piece: bytes | memoryview) -> None:
        """Send a piece; raises ConnectionError when the client is gone."""
        if len(piece) > _SLICE:
            # Else they would be put before it, in a copy of both.
            self._writer.send_headers()
        step = self._slice or len(piece) or 1
        for start in range(0, len(piece), step):
            await self._writer.write(piece[start : start + step])
            await self._writer.drain()
            self._watch.sent += step
