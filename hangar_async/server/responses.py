"""Answers: bodies that are read as they are sent, parts of them, and errors in the specification's form."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

from hangar_async.errors import HangarError
from hangar_async.server.stream import Outlet, Watch

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
