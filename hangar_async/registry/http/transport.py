"""Requests: one session for a run, TLS settings for each host, redirects followed by hand, responses bounded."""

import asyncio
import errno
import ssl
import stat
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Self

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

import hangar_async
from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import NetworkError
from hangar_async.registry.failures import reaching
from hangar_async.registry.http.addresses import MOVED, Redirects, is_internal, place_of, same_origin
from hangar_async.registry.http.limits import Speeds, complete_in
from hangar_async.registry.http.proxies import proxy_for
from hangar_async.registry.http.request_body import Body, RequestBody
from hangar_async.registry.http.resolver import OutsideResolver, PeerResponse, refused_address
from hangar_async.registry.http.response import Buffers, Response, ResponseBody, open_body
from hangar_async.registry.http.self_test import aiohttp_is_known
from hangar_async.system import system_advice, system_reason
from hangar_async.threads import in_thread

#: The most files of a host in certs.d, and the most bytes of one.
_MOST_FILES = 1_000
_LARGEST_FILE = 4 << 20


class TlsContexts:
    """One TLS context for each host with its own certificates, and one for all others.

    Trusted are the CAs of the system (OpenSSL reads SSL_CERT_FILE itself) and, as in Docker, every `*.crt` in
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
        places = [base / name for base in self._directories for name in names]
        folders = tuple(place for place in places if _is_folder(place, host))
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
                files = list(islice(folder.iterdir(), _MOST_FILES + 1))
                if len(files) > _MOST_FILES:
                    raise OSError(errno.E2BIG, f"it has more than {_MOST_FILES:,} files")
                for file in sorted(files):
                    _load_file(context, file)
            except OSError as error:  # ssl.SSLError is one
                raise _unusable(file, host, error) from error
        return context


def _is_folder(place: Path, host: str) -> bool:
    try:
        return stat.S_ISDIR(place.stat().st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise _unusable(place, host, error) from error


def _unusable(file: Path, host: str, error: OSError) -> NetworkError:
    reason = str(error) if isinstance(error, FileNotFoundError) else system_reason(error)
    reason = "it cannot be read as PEM" if isinstance(error, ssl.SSLError) else reason
    advice = "correct its permissions or remove it" if isinstance(error, PermissionError) else system_advice(error)
    return NetworkError(
        f"cannot use {file} for {host}: {reason}",
        host=host,
        transient=False,
        advice=advice or "repair the file or remove it",
    )


def _load_file(context: ssl.SSLContext, file: Path) -> None:
    """Load one file of a host's folder: a CA, or a client certificate with its key; any other file is skipped."""
    if file.suffix in (".crt", ".cert", ".key"):
        _check_file(file)
    if file.suffix == ".crt":
        context.load_verify_locations(cafile=file)
    elif file.suffix == ".cert":
        if not file.with_suffix(".key").is_file():
            raise FileNotFoundError(f"{file.stem}.key is not beside it")
        # Without a password OpenSSL would ask for one on the terminal.
        context.load_cert_chain(file, file.with_suffix(".key"), password="")
    elif file.suffix == ".key" and not file.with_suffix(".cert").is_file():
        raise FileNotFoundError(f"{file.stem}.cert is not beside it")


def _check_file(file: Path) -> None:
    """Raise OSError for what OpenSSL would read without end."""
    status = file.stat()
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it is no regular file")
    if status.st_size > _LARGEST_FILE:
        raise OSError(errno.EFBIG, f"it has more than {_LARGEST_FILE:,} bytes")


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
    `notice` is called where aiohttp does not allow bodies to be taken over.
    """

    def __init__(
        self, settings: RegistrySettings, connections: int, notice: Callable[[str], None] | None = None
    ) -> None:
        self._settings = settings
        self._connections = connections
        self._notice = notice
        self._tls = TlsContexts(settings)
        #: Called with the host of each response when it begins.
        self.answered: Callable[[str], None] = lambda host: None
        #: The speeds of blobs.
        self.speeds = Speeds(settings.least_speed, settings.least_speed_span)
        self._buffers: Buffers | None = [] if settings.buffered else None
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
            timeout=self._limits(),
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
        internal: bool = False,
    ) -> AsyncIterator[Response]:
        """Send a request, with `body`, or a POST of `form`, and yield the first response that is no redirect.

        Errors name `host`. `authorization` is sent to the origin of `url` alone, and never after a redirect to another
        origin. A form is never redirected, and a body only by a status that keeps the method. The connection is kept
        for the next request when the response was read to its end, else closed: an early response ends the sending.
        `internal` says that a server on this machine or its link has named `url`. Raises NetworkError when the server
        takes no more bytes, and for internal addresses that are not allowed, and errors of reading the body.
        """
        redirects = Redirects(url, host, "POST" if form is not None else method, self.named)
        address, at_origin = url, True
        while True:
            fields = {**headers, "Authorization": authorization} if authorization and at_origin else headers
            name = host if at_origin else address.host_port_subcomponent or host
            session = self._session_for(address, internal)
            async with self._send_once(session, address, name, redirects.method, fields, form, body) as raw:
                self.answered(name)
                opener = partial(self._open_body, raw, name)
                internal, seconds = self._is_internal(address, raw), self._settings.answer_timeout
                response = Response(
                    raw, name, redirected=not at_origin, open_body=opener, seconds=seconds, internal=internal
                )
                if response.status not in MOVED:
                    yield response
                    return
                await response.drain()
                # A form has a secret, which is for the first address alone.
                location = response.headers.get("Location", "") if form is None else ""
                address = redirects.follow(response.status, location, internal=internal)
                at_origin = at_origin and same_origin(url, address)

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

    @asynccontextmanager
    async def _send_once(
        self,
        session: aiohttp.ClientSession,
        url: URL,
        host: str,
        method: str,
        headers: Mapping[str, str],
        form: Mapping[str, str] | None,
        content: Body | None,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        proxy = proxy_for(url, self._settings.proxies)
        # A proxy reads it in its own CONNECT, or in the request itself.
        login = {"Proxy-Authorization": proxy.authorization} if proxy and proxy.authorization else {}
        context = await self._tls.context(url) if url.scheme == "https" else True
        limits, body = self._limits(method), None
        try:
            async with complete_in(self._settings.answer_timeout, f"{host}: its answer", host) as limit:
                # No hook tells of the first byte: it comes this long after the last one of the request, or never.
                first = (limits.connect or 0.0) + (limits.sock_read or 0.0) + self._settings.answer_timeout
                if content:
                    body = self._body(content, host, lambda: _limit(limit, first))
                else:
                    _limit(limit, first)
                with reaching(host, answered=False), _failure_first(body):
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
            try:
                yield response
            finally:
                response.release()
        finally:
            if body is not None:
                await body.settled()

    def _open_body(self, raw: aiohttp.ClientResponse, host: str) -> ResponseBody:
        return open_body(raw, self._settings.stall_timeout, self._buffers, self.speeds.begin(host))

    def _body(self, content: Body, host: str, sent: Callable[[], None]) -> RequestBody:
        patience = self._settings.stall_timeout
        return RequestBody(content, host, patience, speeds=self.speeds, plain=self._plain, sent=sent)

    def _limits(self, method: str = "GET") -> aiohttp.ClientTimeout:
        limit, stall = self._settings.connect_timeout, self._settings.stall_timeout
        if method in _COMMITTING:
            stall = max(stall, self._settings.commit_timeout)
        return aiohttp.ClientTimeout(total=None, connect=limit, sock_connect=limit, sock_read=stall)


def _limit(limit: asyncio.Timeout, seconds: float) -> None:
    # The response may be there before the last byte of the request is sent.
    with suppress(RuntimeError):
        limit.reschedule(asyncio.get_running_loop().time() + seconds)


@contextmanager
def _failure_first(body: RequestBody | None) -> Iterator[None]:
    """Raise the failure of a body instead of the error of aiohttp, where it is known."""
    try:
        yield
    except Exception:
        if body is None or body.failure is None:
            raise
        raise body.failure from None
