"""The socket of an application, and the limits of its connections."""

import asyncio
import errno
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from typing import Any

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from hangar_async.errors import ListenError
from hangar_async.server.connections import LIMITS, NAME, Connection, Entrance, Limits

#: The seconds that running responses get to end when the server closes.
GRACE = 2.0
_BACKLOG = 256
_log = logging.getLogger(__name__)
# Text from clients must not reach the terminal of a program that shows no logs.
logging.getLogger("hangar_async.server").addHandler(logging.NullHandler())
#: The warnings of event loops for each write to a client that is gone: as many lines as clients want.
_GONE = ("SSL connection is closed", "socket.send() raised exception.")
logging.getLogger("asyncio").addFilter(lambda record: record.msg not in _GONE)


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = GRACE,
    limits: Limits = LIMITS,
    answered: Callable[[web.BaseRequest, web.StreamResponse, float], None] | None = None,
) -> AsyncIterator[str]:
    """Serve an application on a socket, as `serving` does; yields its address. Raises ListenError."""
    app.on_response_prepare.append(_tell_name)
    # When a client goes away its response ends, so that no content is read in vain.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=grace)
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 - it is set up

    log = partial(_RequestLog, answered=answered)
    make = partial(Connection, server, limits, access_log=_log, access_log_class=log, logger=_log)
    try:
        sockets = await _listen(host, port)
        try:
            async with Entrance(make, limits, tls) as entrance:
                for listener in sockets:
                    entrance.accept(listener)
                # With port 0 each address family gets another free port.
                number = sockets[0].getsockname()[1]
                yield f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
        finally:
            for listener in sockets:
                listener.close()
    finally:
        await runner.cleanup()


async def _tell_name(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(NAME)


async def _listen(host: str, port: int) -> list[socket.socket]:
    """Listen on all addresses of a host, those of IPv4 first; raises ListenError."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        try:
            found = await loop.getaddrinfo(host or None, 0, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
            sockets = [stack.enter_context(listener) for listener in _listeners(found, port)]
        except (OSError, OverflowError) as error:
            reason = getattr(error, "strerror", None) or error
            raise ListenError(f"cannot listen on {host or '*'}:{port}: {reason}") from error
        stack.pop_all()
        return sockets


def _listeners(found: list[tuple[Any, ...]], port: int) -> Iterator[socket.socket]:
    """Listen on the addresses that `getaddrinfo` found, but not on those of a family that the system lacks."""
    missing: OSError | None = None
    count = 0
    for family, address in sorted({(family, address) for family, *_, address in found}):
        try:
            yield _listener(family, address, port)
            count += 1
        except OSError as error:
            if error.errno not in (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL):
                raise
            missing = error
    if missing is not None and not count:
        raise missing


def _listener(family: int, address: tuple[Any, ...], port: int) -> socket.socket:
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # The addresses of IPv4 have a socket of their own.
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind((address[0], port, *address[2:]))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener


class _RequestLog(AbstractAccessLogger):
    """A line for each request, for `--debug`, and a call of `answered`."""

    def __init__(
        self,
        logger: logging.Logger,
        log_format: str,
        *,
        answered: Callable[[web.BaseRequest, web.StreamResponse, float], None] | None = None,
    ) -> None:
        super().__init__(logger, log_format)
        self._answered = answered

    @property
    def enabled(self) -> bool:
        """True when requests are counted or shown."""
        return self._answered is not None or self.logger.isEnabledFor(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line of a request."""
        if self._answered is not None:
            self._answered(request, response, time)
        if not self.logger.isEnabledFor(logging.DEBUG):
            return
        size = response.body_length
        line = "%s %s %s: %d, %d bytes in %.3f s"
        self.logger.debug(line, request.remote, request.method, request.path_qs, response.status, size, time)
