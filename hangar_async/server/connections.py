"""The connections of the server: how many there may be, and how long they may wait for their clients."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Self, cast

from aiohttp import web

from hangar_async.filesystem import allow_open_files
from hangar_async.server.responses import refusal

#: The name of the server; a version would help those who look for a weak one.
NAME = {"Server": "hangar_async"}
#: The first bytes of a connection with TLS: a record of the handshake (RFC 8446, 5.1).
_TLS_RECORD = b"\x16\x03"
#: The response to a connection beyond the limit.
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
#: Open files that are no connections: of the program, and of the content that is read.
_OTHER_FILES = 100
#: Connections for which there are always files: fewer would serve no one.
_LEAST = 8
#: The seconds after which a system without free files is asked for the next connection again.
_PAUSE = 0.1
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of connections: `connections` at once, `per_address` of one address (None: half of them).

    The rest is in seconds: a connection is closed when its TLS does not stand after `handshake`, after `idle` without a
    whole request, or when its client takes no byte of a response for `stalled`. The body of a request is read and
    thrown away for `linger` after the response, so that its client sees that.
    """

    connections: int = 900
    per_address: int | None = None
    handshake: float = 10.0
    idle: float = 60.0
    stalled: float = 60.0
    linger: float = 2.0


LIMITS = Limits()


class Connection(web.RequestHandler):
    """A connection of a client; `left` is called at its end. `settings` are those of the base class."""

    def __init__(self, server: web.Server, limits: Limits, left: Callable[[], None], **settings: Any) -> None:
        # A compressed body of a request is no reason to decode it.
        settings |= {"keepalive_timeout": limits.idle, "lingering_time": limits.linger, "auto_decompress": False}
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self._left = left
        self._stalled = limits.stalled
        #: How often the client has taken all that was written.
        self._drained = 0
        self._progress = (0, 0, False)
        self._timer: asyncio.TimerHandle | None = None
        self._first = b""
        self._is_refused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to wait for requests."""
        super().connection_made(transport)
        # That of uvloop's TLS is no WriteTransport by its class.
        transport = cast("asyncio.WriteTransport", transport)
        # `drain` waits until all is sent; asyncio's TLS counts an empty buffer as full when the limit is 0.
        transport.set_write_buffer_limits(high=1 if self.ssl_context else 0, low=0)
        self._watch(transport)

    def connection_lost(self, exc: BaseException | None) -> None:
        """End all that runs for the client."""
        if self._timer is not None:
            self._timer.cancel()
        self._left()
        super().connection_lost(exc)

    def resume_writing(self) -> None:
        """Go on writing, since the client has taken all."""
        self._drained += 1
        super().resume_writing()

    def data_received(self, data: bytes) -> None:
        """Take in bytes of the client."""
        self._first = self._first or data[: len(_TLS_RECORD)]
        super().data_received(data)

    def eof_received(self) -> None:
        """Close the connection when the client has closed its side: TLS throws away what is written from then on."""
        # Closed twice, asyncio's TLS could not be aborted any more.
        if self.transport is not None and not self.transport.is_closing():
            self.force_close()

    def _watch(self, transport: asyncio.WriteTransport) -> None:
        """Disconnect the client when it has taken nothing since the last time."""
        # A transport that is closed still waits until its client has taken all, and TLS does not tell how much that is.
        progress = (self._drained, transport.get_write_buffer_size(), transport.is_closing())
        if progress == self._progress and any(progress[1:]):
            transport.abort()
            return
        self._progress = progress
        self._timer = self._loop.call_later(self._stalled, self._watch, transport)

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send a response, and wait until the client has taken it: it could ask for the next one without end."""
        finished = await super().finish_response(request, resp, start_time)
        await request.writer.drain()
        return finished

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Make the last response of a connection: to a request that is not HTTP, or that a fault of ours ended."""
        if request.writer.output_size:
            raise ConnectionResetError("a response was begun already")
        self._is_refused = True
        if status < 500:
            speaks = "TLS, and plain HTTP is served here" if self._first == _TLS_RECORD else "no HTTP that is read here"
            self.logger.debug("%s speaks %s", request.remote, speaks)
            response = refusal(status, "UNSUPPORTED", "this is no HTTP that the server reads", headers=NAME)
        else:
            self.logger.debug("a fault in a request of %s", request.remote, exc_info=exc)
            response = refusal(status, "UNKNOWN", "this is a fault of the server", headers=NAME)
        response.force_close()
        return response

    def log_access(self, request: web.BaseRequest, response: web.StreamResponse, time: float | None) -> None:
        """Write the line of a request; one that was refused has one."""
        if not self._is_refused:
            super().log_access(request, response, time)


class OpenConnections:
    """The number of connections that are open, in sum and by address, within the limits."""

    def __init__(self, most: int, most_per_address: int) -> None:
        self._most = most
        self._most_per_address = most_per_address
        self._by_address: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Count a connection, and return True; False where it would be too many."""
        if self._by_address.total() >= self._most or self._by_address[address] >= self._most_per_address:
            return False
        self._by_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """Count a connection no more."""
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]


class Entrance:
    """Accepts the connections of sockets during its block; each counts from its acceptance on, before any handshake.

    `make` makes a connection of the function that is to be called at its end.
    """

    def __init__(
        self, make: Callable[[Callable[[], None]], Connection], limits: Limits, tls: ssl.SSLContext | None
    ) -> None:
        files = allow_open_files(limits.connections + _OTHER_FILES)
        most = min(limits.connections, max(_LEAST, files - _OTHER_FILES))
        per_address = max(1, most // 2) if limits.per_address is None else limits.per_address
        self._open = OpenConnections(most, per_address)
        self._make = make
        self._tls = tls
        self._handshake = limits.handshake if tls is not None else None
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> None:
        for task in self._tasks:
            task.cancel()
        # The group would wrap the exception of the block; the tasks are cancelled already.
        await self._group.__aexit__(None, None, None)

    def accept(self, listener: socket.socket) -> None:
        """Accept the connections of a listening socket; the caller closes it after the block."""
        self._start(self._accept(listener))

    def _start(self, work: Any) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _accept(self, listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                client, peer = await loop.sock_accept(listener)
            except OSError as error:
                _log.debug("cannot accept a connection: %s", error)
                await asyncio.sleep(_PAUSE)
                continue
            address = str(peer[0]) if peer else ""
            if self._open.enter(address):
                self._start(self._connect(client, address))
            else:
                self._refuse(client, address)
            # With a connection ready each time, the loop would do nothing else.
            await asyncio.sleep(0)

    async def _connect(self, client: socket.socket, address: str) -> None:
        left = partial(self._open.leave, address)
        make = partial(self._make, left)
        loop = asyncio.get_running_loop()
        try:
            await loop.connect_accepted_socket(make, client, ssl=self._tls, ssl_handshake_timeout=self._handshake)
        except BaseException as error:
            client.close()
            left()
            if not isinstance(error, OSError):
                raise
            _log.debug("%s: no connection came about: %s", address, error)
            # It is in a cycle with frames that hold a buffer of 256 KiB; cycles are looked for late.
            error.__traceback__ = None

    def _refuse(self, client: socket.socket, address: str) -> None:
        _log.debug("%s: refused, too many connections", address)
        with client, suppress(OSError):
            if self._tls is None:
                client.send(_BUSY)
                # Bytes that are not read when a socket is closed take back those that were sent.
                client.recv(1 << 16)
