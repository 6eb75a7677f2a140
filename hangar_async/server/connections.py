"""The connections of the server."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from hangar_async.server.responses import refusal

#: The name of the server; a version would help those who look for a weak one.
NAME = {"Server": "hangar_async"}


class Connection(web.RequestHandler):
    """A connection of a client, which must take a byte of a response within `stalled` seconds.

    `settings` are those of the base class.
    """

    def __init__(self, server: web.Server, stalled: float, **settings: Any) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **settings)
        self.stalled = stalled

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
        self.logger.debug("error handling a request from %s", request.remote, exc_info=exc)
        text = "this is no request that the server reads" if status < 500 else "this is a fault of the server"
        response = refusal(status, "UNKNOWN" if status >= 500 else "UNSUPPORTED", text, headers=NAME)
        response.force_close()
        return response
