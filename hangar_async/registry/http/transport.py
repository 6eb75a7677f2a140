"""Requests: one session for a run, redirects followed by hand, responses bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from typing import Self

import aiohttp
from yarl import URL

import hangar_async
from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.failures import reaching
from hangar_async.registry.http.addresses import same_origin
from hangar_async.registry.http.proxy import proxy_for
from hangar_async.registry.http.redirects import MOVED, Redirects
from hangar_async.registry.http.request_body import Body, RequestBody
from hangar_async.registry.http.response import Response
from hangar_async.registry.http.response_body import Buffers, open_body
from hangar_async.registry.http.self_test import aiohttp_is_known
from hangar_async.registry.http.tls import TlsContexts

#: A stream pauses when it holds twice as much as this, after which at most 256 KiB more, one read of the event
#: loop, can come in: 512 KiB in all. More was no faster, and cost memory with many requests at once.
READ_LIMIT = 128 << 10
#: Signed URLs in Location headers may be long.
_LONGEST_HEADER = 32 << 10
#: After one of these a registry may have to copy what it has got before it answers.
_COMMITTING = frozenset({"PUT", "PATCH"})


class Transport:
    """Sends requests over one session; `connections` is how many are open at once, and must cover all requests.

    Nothing is decompressed, no cookie is kept, the environment is not looked at, and no time limit is on the whole
    of a response: only on making the connection, and on the time without a byte. `notice` is told where aiohttp is not
    of the kind that bodies can be taken over from.
    """

    def __init__(
        self, settings: RegistrySettings, connections: int, notice: Callable[[str], None] | None = None
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._notice = notice
        self._tls = TlsContexts(settings)
        self._buffers: Buffers | None = [] if settings.buffered else None
        self._plain = False

    async def __aenter__(self) -> Self:
        if not await aiohttp_is_known(self._notice):
            self._buffers, self._plain = None, True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, limit_per_host=0),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"User-Agent": f"hangar_async/{hangar_async.__version__}", "Accept-Encoding": "identity"},
            timeout=self._limits(),
            auto_decompress=False,
            trust_env=False,
            read_bufsize=READ_LIMIT,
            max_field_size=_LONGEST_HEADER,
        )
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._session.close()

    @asynccontextmanager
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
    ) -> AsyncIterator[Response]:
        """Send a request, with `body`, or a POST of `form`, and hand out the first response that is no redirect.

        `host` is named in errors. `authorization` is sent to the origin of `url` alone, and no longer once a
        redirect has left it. A form is never redirected, and a body only by a status that keeps the method.
        The connection is kept for the next request when the response was read to its end, else closed: a response that
        comes early ends the sending.
        Raises NetworkError when the other side takes nothing any more, and what reading a body raises.
        """
        redirects = Redirects(url, host, "POST" if form is not None else method)
        address, at_home = url, True
        while True:
            fields = {**headers, "Authorization": authorization} if authorization and at_home else headers
            name = host if at_home else address.host_port_subcomponent or host
            async with self._send_once(address, name, redirects.method, fields, form, body) as raw:
                opener = partial(open_body, raw, self._settings.stall_timeout, self._buffers)
                response = Response(raw, name, redirected=not at_home, open_body=opener)
                if response.status not in MOVED:
                    yield response
                    return
                await response.drain()
                # A POST carries a secret in its body, which is for the first address alone.
                location = response.headers.get("Location", "") if form is None else ""
                address = redirects.follow(response.status, location)
                at_home = at_home and same_origin(url, address)

    @asynccontextmanager
    async def _send_once(
        self,
        url: URL,
        host: str,
        method: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        content: Body | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        proxy = proxy_for(url, self._settings.proxies)
        context = await self._tls.context(url) if url.scheme == "https" else True
        patience = self._settings.stall_timeout
        body = RequestBody(content, host, patience, plain=self._plain) if content else None
        try:
            with reaching(host), _failure_of(body):
                response = await self._session.request(
                    method,
                    url,
                    headers=headers,
                    data=form if body is None else body,
                    proxy=proxy,
                    ssl=context,
                    timeout=self._limits(method),
                    allow_redirects=False,
                )
            try:
                yield response
            finally:
                response.release()
        finally:
            if body is not None:
                await body.settled()

    def _limits(self, method: str = "GET") -> aiohttp.ClientTimeout:
        limit, stall = self._settings.connect_timeout, self._settings.stall_timeout
        if method in _COMMITTING:
            stall = max(stall, self._settings.commit_timeout)
        return aiohttp.ClientTimeout(total=None, connect=limit, sock_connect=limit, sock_read=stall)


@contextmanager
def _failure_of(body: RequestBody | None) -> Iterator[None]:
    """Raise why a body could not be sent, where that is known better than aiohttp tells it."""
    try:
        yield
    except Exception:
        if body is None or body.failure is None:
            raise
        raise body.failure from None
