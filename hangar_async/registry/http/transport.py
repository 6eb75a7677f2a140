"""Requests: one session for a run, TLS settings for each host, redirects followed by hand, responses bounded."""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from functools import partial
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

import hangar_async
from hangar_async.buffers import PieceBuffers
from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.failures import Reaching, is_of_another_time
from hangar_async.registry.http.addresses import (
    MOVED,
    Redirects,
    is_internal,
    place_of,
    same_origin,
    shown_address,
    web_address,
)
from hangar_async.registry.http.body import ResponseBody, open_body
from hangar_async.registry.http.limits import Deadline, Speeds
from hangar_async.registry.http.proxies import proxy_for
from hangar_async.registry.http.request_body import Body, RequestBody
from hangar_async.registry.http.resolver import OutsideResolver, PeerResponse, refused_address
from hangar_async.registry.http.response import Response
from hangar_async.registry.http.self_test import aiohttp_is_known
from hangar_async.registry.http.tls import TlsContexts

_log = logging.getLogger(__name__)
#: A stream pauses at twice as many bytes, and takes one more read of the event loop, at most 256 KiB: 512 KiB in all.
#: More was no faster, and cost memory with many requests at once.
READ_LIMIT = 128 << 10
#: Signed URLs in Location headers may be long.
_LONGEST_HEADER = 32 << 10
#: Before the response to one of these a registry may have to copy the content.
_COMMITTING = frozenset({"PUT", "PATCH"})


class Transport:
    """Sends requests over two sessions; `connections` is the number of connections, at least that of all requests.

    The places in `named`, HOST:PORT, may have any address. All others are asked over a session of their own, which
    connects to no address on this machine or its link, unless a server there has named them.

    Nothing is decompressed, no cookie is kept, and the environment is not read. Time limits are on making the
    connection, on the time without a byte, and on a response as a whole but for a body that is opened as a long one.
    `notice` is called where aiohttp does not allow bodies to be taken over. `is_silent` logs no request.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        connections: int,
        notice: Callable[[str], None] | None = None,
        *,
        is_silent: bool = False,
    ) -> None:
        self._is_silent = is_silent
        self._settings = settings
        self._connections = connections
        self._notice = notice
        self._tls = TlsContexts(settings)
        self._limits, self._committing = _limits(settings), _limits(settings, commits=True)
        #: Called with the host of each response when it begins.
        self.answered: Callable[[str, int], None] = lambda host, status: None
        #: The speeds of blobs.
        self.speeds = Speeds(settings.least_speed, settings.least_speed_span)
        self._buffers = PieceBuffers() if settings.buffered else None
        self._plain = False
        #: The places that the list, a flag or a setting names.
        self.named: set[str] = set()

    async def __aenter__(self) -> Self:
        if not await aiohttp_is_known(self._notice):
            self._buffers, self._plain = None, True
        self._session = self._open_session(aiohttp.ThreadedResolver())
        self._outside = self._open_session(OutsideResolver())
        return self

    def _open_session(self, resolver: AbstractResolver) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, limit_per_host=0, resolver=resolver),
            response_class=PeerResponse,
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"hangar_async/{hangar_async.__version__}", "Accept-Encoding": "identity"},
            timeout=self._limits,
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_LIMIT,
            max_field_size=_LONGEST_HEADER,
        )

    async def __aexit__(self, *error: object) -> None:
        try:
            await self._session.close()
        finally:
            await self._outside.close()

    async def send(
        self,
        url: URL,
        host: str,
        *,
        headers: Mapping[str, str],
        authorization: str | None = None,
        form: Mapping[str, str] | None = None,
        method: str = "GET",
        body: Body | None = None,
        internal: bool = False,
    ) -> Response:
        """Send a request, with `body`, or a POST of `form`, and return the first response that is no redirect.

        The caller closes the response, by `async with`. Errors name `host`.
        `authorization` is sent to the origin of `url` alone, and never after a redirect to another origin. A form is
        never redirected, and a body only by a status that keeps the method. The connection is kept for the next request
        when the response was read to its end, else closed: an early response ends the sending. `internal` says that a
        server on this machine or its link has named `url`. Raises NetworkError when the server takes no more bytes, and
        for internal addresses that are not allowed, and errors of reading the body.
        """
        redirects = Redirects(url, host, "POST" if form is not None else method, self.named)
        address, at_origin = url, True
        while True:
            fields = {**headers, "Authorization": authorization} if authorization and at_origin else headers
            name = host if at_origin else address.host_port_subcomponent or host
            session = self._session_for(address, internal)
            with self._logged(redirects.method, address) as log:
                raw, sent = await self._send_once(session, address, name, redirects.method, fields, form, body)
                log(raw)
            internal = self._is_internal(address, raw)
            response = Response(
                raw,
                name,
                redirected=not at_origin,
                open_body=partial(self._open_body, raw, name),
                seconds=self._settings.answer_timeout,
                internal=internal,
                settled=None if sent is None else sent.settled,
            )
            self.answered(name, response.status)
            if response.status not in MOVED:
                return response
            async with response:
                await response.drain()
                # A form has a secret, which is for the first address alone.
                location = response.headers.get("Location", "") if form is None else ""
                address = redirects.follow(response.status, location, internal=internal)
                at_origin = at_origin and same_origin(url, address)

    @contextmanager
    def _logged(self, method: str, url: URL) -> Iterator[Callable[[aiohttp.ClientResponse], None]]:
        """Log a request, its status, and where a redirect leads; no header, no body, and no value of a query."""
        if self._is_silent or not _log.isEnabledFor(logging.DEBUG):
            yield lambda _: None
            return
        started, request = time.monotonic(), f"{method} {shown_address(url)}"
        if proxy := proxy_for(url, self._settings.proxies):
            request += f" by the proxy {URL(proxy.url).host}"

        def log(raw: aiohttp.ClientResponse) -> None:
            place = web_address(raw.headers.get("Location", ""), url) if raw.status in MOVED else URL()
            leads = f" to {shown_address(place)}" if place else ""
            _log.debug("%s: %d%s, after %.0f ms", request, raw.status, leads, (time.monotonic() - started) * 1000)

        try:
            yield log
        except NetworkError as error:
            _log.debug("%s: %s, after %.0f ms", request, error, (time.monotonic() - started) * 1000)
            raise

    def _session_for(self, url: URL, internal: bool) -> aiohttp.ClientSession:
        """Choose the session for a place; a proxy finds the addresses of others itself."""
        if internal or place_of(url) in self.named:
            return self._session
        if is_internal(url.host or ""):
            raise refused_address(url.host or "")
        return self._outside if proxy_for(url, self._settings.proxies) is None else self._session

    def _is_internal(self, url: URL, raw: aiohttp.ClientResponse) -> bool:
        if proxy_for(url, self._settings.proxies) is not None:
            return is_internal(url.host or "")
        return isinstance(raw, PeerResponse) and is_internal(raw.peer)

    async def _send_once(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        host: str,
        method: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        content: Body | None,
    ) -> tuple[aiohttp.ClientResponse, RequestBody | None]:
        """Send a request; return the response, to be released, and the body that was sent, to be settled then."""
        proxy = proxy_for(url, self._settings.proxies)
        # A proxy reads it in its own CONNECT, or in the request itself.
        login = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
        context = await self._tls.context(url) if url.scheme == "https" else True
        limits, body = self._committing if method in _COMMITTING else self._limits, None
        try:
            async with Deadline(self._settings.answer_timeout, f"{host}: its answer", host) as limit:
                # No hook tells of the first byte: it comes this long after the last one of the request, or never.
                first = (limits.connect or 0.0) + (limits.sock_read or 0.0) + self._settings.answer_timeout
                if content:
                    body = self._body(content, host, lambda: _limit(limit, first))
                else:
                    _limit(limit, first)
                with Reaching(host, answered=False), _failure_first(body) if body else nullcontext():
                    response = await session.request(
                        method,
                        url,
                        headers=headers if url.scheme == "https" else {**headers, **login},
                        data=form if body is None else body,
                        proxy=proxy.url if proxy else None,
                        proxy_headers=login,
                        ssl=context,
                        timeout=limits,
                        allow_redirects=False,
                    )
        except BaseException as error:
            if body is not None:
                await body.settled()
            # Asked for again, without a proxy, is only a place that may have any address.
            if isinstance(error, NetworkError) and session is self._session and proxy is None:
                await self._name_dates(error, url)
            raise
        return response, body

    async def _name_dates(self, error: NetworkError, url: URL) -> None:
        """Add the dates of a certificate to a failure that is about them."""
        if is_of_another_time(error.__cause__) and (
            dates := await self._tls.dates(url, self._settings.connect_timeout)
        ):
            error.args = (f"{error}; {dates}",)

    def _open_body(self, raw: aiohttp.ClientResponse, host: str) -> ResponseBody:
        return open_body(raw, self._settings.stall_timeout, self._buffers, self.speeds.begin(host))

    def _body(self, content: Body, host: str, sent: Callable[[], None]) -> RequestBody:
        patience = self._settings.stall_timeout
        return RequestBody(content, host, patience, speeds=self.speeds, plain=self._plain, sent=sent)


def _limits(settings: RegistrySettings, *, commits: bool = False) -> aiohttp.ClientTimeout:
    limit, stall = settings.connect_timeout, settings.stall_timeout
    if commits:
        stall = max(stall, settings.commit_timeout)
    return aiohttp.ClientTimeout(total=None, connect=limit, sock_connect=limit, sock_read=stall)


def _limit(limit: asyncio.Timeout, seconds: float) -> None:
    # The response may be there before the last byte of the request is sent.
    with suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time() + seconds)


@contextmanager
def _failure_first(body: RequestBody) -> Iterator[None]:
    """Raise the failure of a body instead of the error of aiohttp, where it is known."""
    try:
        yield
    except Exception:
        if body.failure is None:
            raise
        raise body.failure from None
