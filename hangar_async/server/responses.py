"""Responses: streamed bodies, ranges of them, and errors in the form of the specification."""

import json
import re
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Self

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from hangar_async.errors import HangarError

_RANGE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.ASCII | re.IGNORECASE)
#: A number of more digits is no position, and slow to read.
_MOST_DIGITS = 20
#: The headers of content, which the error that is sent in its place does not have.
_CONTENT_HEADERS = ("Accept-Ranges", "Content-Range", "Content-Type", "Docker-Content-Digest", "ETag")
#: Called with the error of content that cannot be read, for the operator of the server.
Failed = Callable[[HangarError], None]


def ignore(error: HangarError) -> None:
    """Ignore the error."""


class ContentResponse(web.StreamResponse):
    """A response whose body of `size` bytes is read from `pieces` while it is sent; for HEAD it is not read.

    Until it is sent, a middleware may change the headers and replace `pieces`. Each piece is sent before the next one
    is read. An error before the first piece becomes an error response; a later one closes the connection, so that the
    body ends too early for its Content-Length.
    """

    def __init__(
        self,
        pieces: AsyncIterator[bytes | memoryview],
        size: int,
        headers: Mapping[str, str],
        status: int = 200,
        *,
        failed: Failed = ignore,
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = size
        self.pieces = pieces
        self._failed = failed

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
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

    async def _send(
        self, request: web.BaseRequest, writer: AbstractStreamWriter, piece: bytes | memoryview | None
    ) -> None:
        left = self.content_length or 0
        with ResponseWriter(request, writer) as response_writer:
            while piece is not None:
                await response_writer.send(piece)
                left -= len(piece)
                try:
                    piece = await anext(self.pieces, None)
                except HangarError as error:
                    self._failed(error)
                    break
            if left > 0:
                raise ConnectionResetError("the content ended too early")

    def _refuse(self) -> bytes:
        """Turn this into an error response; return its body."""
        response = refusal(500, "UNKNOWN", "the content cannot be read; the server says why")
        for name in _CONTENT_HEADERS:
            self.headers.popall(name, None)
        self.headers["Content-Type"] = response.headers["Content-Type"]
        self.set_status(response.status)
        assert isinstance(response.body, bytes)  # noqa: S101 - it was made of text
        self.content_length = len(response.body)
        return response.body


_NOT_UTF_8 = re.compile("[\ud800-\udfff]")


def shown(name: str) -> str:
    """Replace each byte of a name that is not UTF-8, which Python keeps as a surrogate, by U+FFFD."""
    return _NOT_UTF_8.sub("\ufffd", name)


def document(fields: object, headers: Mapping[str, str] | None = None, status: int = 200) -> web.Response:
    """Make a response that is a JSON document."""
    text = shown(json.dumps(fields, ensure_ascii=False))
    return web.Response(text=text, status=status, headers=headers, content_type="application/json")


def refusal(
    status: int, code: str, message: str, detail: object = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Make an error response (distribution-spec, "Error Codes")."""
    error = {"code": code, "message": message, "detail": detail}
    return document({"errors": [error]}, headers, status)


def byte_range(text: str, size: int) -> tuple[int, int] | None:
    """Read a Range header for content of `size` bytes: start, and stop after the last byte.

    None stands for the whole content: no range, several, or one that makes no sense. Raises ValueError where no byte
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


#: Over TLS all that is written is encrypted, and so copied, at once: at most two slices wait.
_SLICE = 64 << 10


class ResponseWriter:
    """Sends pieces to the client of a request; a piece may be used again when `send` is over.

    An error in the middle of a piece ends the connection at once: the memory of the piece is used again, and the
    transport may still hold a part of it.
    """

    def __init__(self, request: web.BaseRequest, writer: AbstractStreamWriter) -> None:
        if request.transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = request.transport
        self._writer = writer
        self._slice = _SLICE if self._transport.get_extra_info("sslcontext") else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if error is not None and self._transport.get_write_buffer_size():
            self._transport.abort()

    async def send(self, piece: bytes | memoryview) -> None:
        """Send a piece; raises ConnectionError when the client is gone."""
        if len(piece) > _SLICE:
            # Else aiohttp would join the headers and the piece, in a copy.
            self._writer.send_headers()
        step = self._slice or len(piece) or 1
        for start in range(0, len(piece), step):
            await self._writer.write(piece[start : start + step])
            await self._writer.drain()
