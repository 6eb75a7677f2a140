"""The socket of an application, and the limits of its connections."""

import asyncio
import logging
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from hangar_async.errors import ListenError, UsageError
from hangar_async.server.connections import NAME, Connection
from hangar_async.server.responses import STALLED

#: The seconds that running responses get to end when the server closes.
GRACE = 2.0
_BACKLOG = 256
#: The response to a connection beyond the limit.
_BUSY = b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
_log = logging.getLogger(__name__)
# Text from clients must not reach the terminal of a program that shows no logs.
logging.getLogger("hangar_async.server").addHandler(logging.NullHandler())


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of connections: `connections` at once; the rest in seconds.

    A connection is closed after `idle` without a request, or when its client takes no byte of a response for `stalled`.
    """

    connections: int = 900
    idle: float = 60.0
    stalled: float = STALLED


LIMITS = Limits()


@asynccontextmanager
async def listening(
    app: web.Application,
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = GRACE,
    limits: Limits = LIMITS,
) -> AsyncIterator[str]:
    """Serve an application on a socket, as `serving` does; yields its address. Raises ListenError."""
    app.on_response_prepare.append(_tell_name)
    # When a client goes away its response ends, so that no content is read in vain.
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=grace)
    await runner.setup()
    server = runner.server
    assert server is not None  # noqa: S101 - it is set up

    def connection() -> asyncio.BaseProtocol:
        if len(server.connections) >= limits.connections:
            return _Busy()
        return Connection(
            server,
            limits.stalled,
            access_log=_log,
            access_log_class=_RequestLog,
            logger=_log,
            keepalive_timeout=limits.idle,
        )

    try:
        listener = await _listen(connection, host, port, tls)
        try:
            # With port 0 each address family gets another free port.
            number = min(listener.sockets, key=lambda listening_socket: listening_socket.family).getsockname()[1]
            yield f"[{host}]:{number}" if ":" in host else f"{host}:{number}"
        finally:
            listener.close()
    finally:
        await runner.cleanup()


async def _tell_name(_: web.Request, response: web.StreamResponse) -> None:
    response.headers.update(NAME)


async def _listen(
    connection: Callable[[], asyncio.BaseProtocol], host: str, port: int, tls: ssl.SSLContext | None
) -> asyncio.Server:
    loop = asyncio.get_running_loop()
    try:
        return await loop.create_server(connection, host or None, port, ssl=tls, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ListenError(f"cannot listen on {host or '*'}:{port}: {reason}") from error


class _Busy(asyncio.Protocol):
    """Refuses a connection."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101 - of a socket
        transport.write(_BUSY)
        transport.close()


class _RequestLog(AbstractAccessLogger):
    """A line for each request, for `--debug`."""

    @property
    def enabled(self) -> bool:
        """True when anybody wants lines."""
        return self.logger.isEnabledFor(logging.DEBUG)

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """Write the line of a request."""
        size = response.body_length
        line = "%s %s %s: %d, %d bytes in %.3f s"
        self.logger.debug(line, request.remote, request.method, request.path_qs, response.status, size, time)


class _Encrypted(Exception):
    """Raised when a key needs a passphrase."""


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """Read a certificate (with those above it) and its key, in PEM; synchronous, for a thread.

    Raises UsageError for files that cannot be read, or do not fit.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # The system may allow older versions by default.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    for path, flag in ((certificate, "--tls-cert"), (key, "--tls-key")):
        try:
            with path.open("rb"):
                pass
        except OSError as error:
            raise UsageError(f"cannot read {path} ({flag}): {error.strerror}") from error
    try:
        context.load_cert_chain(certificate, key, password=_refuse)
    except _Encrypted as error:
        raise UsageError(
            f"the key in {key} (--tls-key) is encrypted",
            advice="write it without a passphrase: openssl pkey -in KEY -out NEW",
        ) from error
    except (ssl.SSLError, OSError) as error:
        reason = "they do not belong together" if "MISMATCH" in str(error) else "it is not PEM, or damaged"
        raise UsageError(f"cannot use {certificate} (--tls-cert) with {key} (--tls-key): {reason}") from error
    return context


def _refuse() -> str:
    raise _Encrypted
