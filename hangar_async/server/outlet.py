"""The way of a body to its client: a piece at a time, and no more than that in memory."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_request import BaseRequest

#: Seconds in which a client has to take something of what is sent to it.
STALLED = 60.0
#: Over TLS a piece is encrypted, and so copied, at once: what waits of it then is at most two slices.
_SLICE = 64 << 10


class Outlet:
    """Sends pieces to the client of a request; a piece may be used again when `send` is over.

    A client that takes nothing for `stalled` seconds is cut off. Leaving in the middle of a piece ends the connection
    on the spot: what the transport still holds of it is about to be used again.
    """

    def __init__(self, request: BaseRequest, writer: AbstractStreamWriter, stalled: float = STALLED) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client is gone")
        self._transport = transport
        self._writer = writer
        self._slice = _SLICE if transport.get_extra_info("sslcontext") else None
        self._stalled = stalled
        self._watch: asyncio.TimerHandle | None = None
        self._sent = 0
        self._seen = (-1, 0)

    def __enter__(self) -> Self:
        # To be told when all is sent, not when only some is left; asyncio's TLS would wait for less than nothing.
        self._transport.set_write_buffer_limits(high=1 if self._slice else 0, low=0)
        self._watch_on()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._watch is not None:
            self._watch.cancel()
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
            self._sent += step

    def _watch_on(self) -> None:
        self._watch = asyncio.get_running_loop().call_later(self._stalled, self._look)

    def _look(self) -> None:
        """See whether the client has taken anything since the last look."""
        now = (self._sent, self._transport.get_write_buffer_size())
        if now == self._seen and now[1]:
            self._transport.abort()
        else:
            self._seen = now
            self._watch_on()
