"""The way of an answer to its client: a piece at a time, no more than that in memory, and not for ever."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

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
