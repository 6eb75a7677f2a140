"""Requests: one session for a run, TLS settings for each host, redirects followed by hand, responses bounded."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import partial
from pathlib import Path
from typing import Self

import aiohttp
from yarl import URL

import hangar_async
from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.failures import reaching
from hangar_async.registry.http.addresses import MOVED, Redirects, proxy_for, same_origin
from hangar_async.registry.http.request_body import Body, RequestBody
from hangar_async.registry.http.response import Response
from hangar_async.registry.http.response_body import Buffers, open_body
from hangar_async.registry.http.self_test import aiohttp_is_known
from hangar_async.threads import in_thread


class TlsContexts:
    """One context for each host that has certificates of its own, and one for all others.

    Trusted are the system's CAs (OpenSSL reads SSL_CERT_FILE itself) and, as Docker does it, every `*.crt` in
    certs.d/HOST[:PORT]/; from there `NAME.cert` with `NAME.key` is shown to the host as a client certificate.
    """

    def __init__(self, settings: RegistrySettings) -> None:
        self._settings = settings
        self._directories = settings.certificates
        self._by_host: dict[str, ssl.SSLContext] = {}
        self._by_folders: dict[tuple[bool, tuple[Path, ...]], ssl.SSLContext] = {}
        self._making = asyncio.Lock()

    async def context(self, url: URL) -> ssl.SSLContext:
        """Return the context for the host of `url`; raises NetworkError for certificates that cannot be used."""
        host = f"{url.host_subcomponent}:{url.port}"
        if host not in self._by_host:
            async with self._making:
                if host not in self._by_host:
                    self._by_host[host] = await in_thread(self._make, host)
        return self._by_host[host]

    def _make(self, host: str) -> ssl.SSLContext:
        names = (host, host.removesuffix(":443")) if host.endswith(":443") else (host,)
        folders = tuple(base / name for base in self._directories for name in names if (base / name).is_dir())
        verify = all(self._settings.verifies(name) for name in names)
        if (verify, folders) not in self._by_folders:
            self._by_folders[verify, folders] = self._load(folders, host, verify)
        return self._by_folders[verify, folders]

    def _load(self, folders: tuple[Path, ...], host: str, verify: bool) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.set_alpn_protocols(["http/1.1"])
        if not verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        for folder in folders:
            file = folder
            try:
                for file in sorted(folder.iterdir()):
                    _load_file(context, file)
            except OSError as error:  # ssl.SSLError is one
                reason = str(error) if isinstance(error, FileNotFoundError) else str(error.strerror)
                reason = "it cannot be read as PEM" if isinstance(error, ssl.SSLError) else reason
                raise NetworkError(
                    f"cannot use {file} for {host}: {reason}",
                    host=host,
                    transient=False,
                    advice="repair the file or remove it",
                ) from error
        return context


def _load_file(context: ssl.SSLContext, file: Path) -> None:
    """Load one file of a host's folder: a CA, or a client certificate with its key; any other file is passed over."""
    if file.suffix == ".crt":
        context.load_verify_locations(cafile=file)
    elif file.suffix == ".cert":
        if not file.with_suffix(".key").is_file():
            raise FileNotFoundError(f"{file.stem}.key is not beside it")
        # Without a password of ours OpenSSL would ask for one on the terminal.
        context.load_cert_chain(file, file.with_suffix(".key"), password="")
    elif file.suffix == ".key" and not file.with_suffix(".cert").is_file():
        raise FileNotFoundError(f"{file.stem}.cert is not beside it")


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
