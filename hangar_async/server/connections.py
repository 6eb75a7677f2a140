"""The connections of the server."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from hangar_async.server.responses import refusal

#: The name of the server; a version would help those who look for a weak one.
NAME = {"Server": "hangar_async"}
#: The first bytes of a connection with TLS: a record of the handshake (RFC 8446, 5.1).
_TLS_RECORD = b"\x16\x03"


class Connection(web.RequestHandler):
    """A connection of a client, which must take a byte of a response within `stalled` seconds.

    `settings` are those of the base class.
    """

    def __init__(self, server: web.Server, stalled: float, **settings: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self.stalled = stalled
        self._first = b""
        self._is_refused = False

    def data_received(self, data: bytes) -> None:
        """Take in bytes of the client."""
        self._first = self._first or data[: len(_TLS_RECORD)]
        super().data_received(data)

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
