"""Requests: one session for a run, redirects followed by hand, answers bounded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

import hangar_async
from hangar_async.config.registries import RegistrySettings
from hangar_async.registry.failures import reaching
from hangar_async.registry.http.proxy import proxy_for
from hangar_async.registry.http.redirects import MOVED, Redirects, same_origin
from hangar_async.registry.http.request_body import Body, Sending
from hangar_async.registry.http.response import Answer
from hangar_async.registry.http.response_body import Buffers, feed_of
from hangar_async.registry.http.tls import TlsContexts

#: A stream pauses when it holds twice as much as this, after which at most 256 KiB more, one read of the event
#: loop, can come in: 512 KiB in all. More was no faster, and cost memory with many requests at once.
READ_LIMIT = 128 << 10
#: Signed URLs in Location headers may be long.
_LONGEST_HEADER = 32 << 10
#: A registry may have to copy what it has got before it answers these.
_COMMITTING = frozenset({"PUT", "PATCH"})


@dataclass(frozen=True, slots=True)
class _Wish:
    """What is sent, wherever redirects lead."""

    method: str
    headers: Mapping[str, str]
    form: Mapping[str, str] | None = field(repr=False)
    body: Body | None = field(repr=False)


class Transport:
    """Sends requests over one session; `connections` is how many are open at once, and must cover all requests.

    Nothing is decompressed, no cookie is kept, the environment is not looked at, and no time limit is on the whole
    of an answer: only on making the connection, and on the time without a byte.
    """

    def __init__(self, settings: RegistrySettings, connections: int) -> None:
        self._settings = settings
        self._connections = connections
        self._tls = TlsContexts(settings)
        self._buffers = Buffers() if settings.buffered else None

    async def __aenter__(self) -> Self:
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

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
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
    ) -> AsyncIterator[Answer]:
        """Send a request, with `body`, or a POST of `form`, and hand out the first answer that is no redirect.

        `host` is whom errors name. `authorization` is sent to the origin of `url` alone, and no longer once a
        redirect has left it. A form is never redirected, and a body only by a status that keeps the method.
        The connection is kept for the next request when the answer was read to its end, else closed: an answer that
        comes early ends the sending.
        Raises NetworkError when the other side takes nothing any more, and what reading a body raises.
        """
        redirects = Redirects(url, host, "POST" if form is not None else method)
        wish = _Wish(redirects.method, headers, form, body)
        here, own = url, True
        while True:
            secret = {"Authorization": authorization} if authorization and own else {}
            name = host if own else here.host_port_subcomponent or host
            async with self._once(here, name, wish, secret) as response:
                feed = partial(feed_of, response, self._settings.stall_timeout, self._buffers)
                answer = Answer(response, name, redirected=not own, feed=feed)
                if answer.status not in MOVED:
                    yield answer
                    return
                await answer.drain()
                # A POST carries a secret in its body, which is for the first address alone.
                here = redirects.follow(answer.status, answer.headers.get("Location", "") if form is None else "")
                own = own and same_origin(url, here)

    @asynccontextmanager
    async def _once(
        self, url: URL, host: str, wish: _Wish, secret: Mapping[str, str]
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        proxy = proxy_for(url, self._settings.proxies)
        context = await self._tls.context(url) if url.scheme == "https" else True
        sending = Sending(wish.body, host, self._settings.stall_timeout) if wish.body else None
        try:
            with reaching(host), _telling(sending):
                response = await self._session.request(
                    wish.method,
                    url,
                    headers={**wish.headers, **secret},
                    data=wish.form if sending is None else sending,
                    proxy=proxy,
                    ssl=context,
                    timeout=self._limits(wish.method),
                    allow_redirects=False,
                )
            try:
                yield response
            finally:
                response.release()
        finally:
            if sending is not None:
                await sending.settled()

    def _limits(self, method: str = "GET") -> aiohttp.ClientTimeout:
        limit, stall = self._settings.connect_timeout, self._settings.stall_timeout
        if method in _COMMITTING:
            stall = max(stall, self._settings.commit_timeout)
        return aiohttp.ClientTimeout(total=None, connect=limit, sock_connect=limit, sock_read=stall)


@contextmanager
def _telling(sending: Sending | None) -> Iterator[None]:
    """Raise why a body could not be sent, where that is known better than aiohttp tells it."""
    try:
        yield
    except Exception:
        if sending is None or sending.failure is None:
            raise
        raise sending.failure from None
