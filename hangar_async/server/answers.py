"""Answers: bodies that are read as they are sent, parts of them, and errors in the specification's form."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

_RANGE = re.compile(r"bytes=\s*([0-9]*)-([0-9]*)\s*", re.ASCII | re.IGNORECASE)
#: More digits are no place in any content, and much work to read.
_MOST_DIGITS = 20


class Body(web.StreamResponse):
    """An answer whose body of `size` bytes is read from `pieces` while it is sent; for HEAD it is not read.

    Until it is sent, a middleware may change the headers, and put something else in the place of `pieces`.
    """

    def __init__(
        self, pieces: AsyncIterator[bytes | memoryview], size: int, headers: Mapping[str, str], status: int = 200
    ) -> None:
        super().__init__(status=status, headers=headers)
        self.content_length = size
        self.pieces = pieces

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """Send headers and body."""
        if self.prepared:
            return await super().prepare(request)
        async with AsyncExitStack() as stack:
            if close := getattr(self.pieces, "aclose", None):
                stack.push_async_callback(close)
            writer = await super().prepare(request)
            if request.method != "HEAD":
                async for piece in self.pieces:
                    await self.write(piece)
            await self.write_eof()
        return writer


def refusal(
    status: int, code: str, message: str, detail: object = None, headers: Mapping[str, str] | None = None
) -> web.Response:
    """Make an error answer (distribution-spec, "Error Codes")."""
    error = {"code": code, "message": message, "detail": detail}
    return web.json_response({"errors": [error]}, status=status, headers=headers)


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
