"""Responses: status, headers and errors, before their bodies are read."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Self
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from hangar_async.errors import ContentError, DigestMismatch, InvalidValue, NetworkError, RegistryError
from hangar_async.oci import Digest
from hangar_async.registry.failures import Reaching, refused
from hangar_async.registry.http.body import ResponseBody
from hangar_async.registry.http.limits import Deadline

#: The most bytes that are read of the body of an error, and the most seconds.
MAX_ERROR_BODY = 64 << 10
_ERROR_BODY_TIMEOUT = 10.0
#: For content that has another digest at a registry than when it was sent.
CHANGED_ADVICE = (
    "run the same command again; if it stays so, the registry, or a proxy before it, changes what it is sent: tell its "
    "operator"
)


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body is not read yet, to be closed; errors name `host` as its source.

    `redirected` is True for another origin than that of the request, and `internal` where it came from this machine or
    its link, through no proxy. `open_body` opens a long body, which must be read and closed before the response ends.
    Any other one must be complete `seconds` after the response began. `settled` waits for the end of the request.
    """

    raw: aiohttp.ClientResponse = field(repr=False)
    host: str
    redirected: bool
    open_body: Callable[[], ResponseBody] = field(repr=False)
    seconds: float
    internal: bool = False
    settled: Callable[[], Awaitable[None]] | None = field(default=None, repr=False)
    _began: float = field(default_factory=lambda: asyncio.get_running_loop().time(), repr=False)

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.raw.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The header fields."""
        return self.raw.headers

    @property
    def url(self) -> URL:
        """The URL of the response."""
        return self.raw.url

    @property
    def origin(self) -> str:
        """The host, for messages about wrong bytes; with the Content-Encoding of the body, which is never decoded."""
        encoding = self.headers.get("Content-Encoding", "").strip()
        return f"{self.host} (Content-Encoding {encoding[:20]!r})" if encoding else self.host

    @property
    def digest(self) -> Digest | None:
        """The digest in Docker-Content-Digest; None without one that can be read."""
        return read_digest(self.headers.get("Docker-Content-Digest", ""))

    async def __aenter__(self) -> Self:
        """Begin a block at whose end it is closed."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """Keep the connection for the next request where the body was read to its end, else close it."""
        self.raw.release()
        if self.settled is not None:
            await self.settled()

    async def read(self, subject: str, limit: int, digest: str = "") -> bytes:
        """Read the whole body; raises NetworkError, or ContentError for one of more than `limit` bytes."""
        body = bytearray()
        async with Deadline(self.seconds, f"{subject} from {self.host}", self.host, self._began):
            with Reaching(self.host, subject):
                while data := await self.raw.content.readany():
                    body += data
                    if len(body) > limit:
                        raise ContentError(f"{subject} from {self.host} is larger than {limit} bytes", digest=digest)
        return bytes(body)

    async def drain(self) -> bytes:
        """Read and return the start of the body; after a short one the connection can be used again."""
        body = bytearray()
        with suppress(NetworkError, TimeoutError):
            async with asyncio.timeout(_ERROR_BODY_TIMEOUT):
                with Reaching(self.host):
                    while len(body) <= MAX_ERROR_BODY and (data := await self.raw.content.readany()):
                        body += data
        return bytes(body[:MAX_ERROR_BODY])

    async def refusal(self, subject: str, source: str = "", *, push: bool = False) -> RegistryError:
        """Make the error for this response to a request for `subject`; see `failures.refused`."""
        content = self.headers, await self.drain()
        return refused(self.host, subject, self.status, *content, source=source, redirected=self.redirected, push=push)

    def require_digest(self, digest: Digest, subject: str) -> None:
        """Raise DigestMismatch where the registry gives pushed content another digest of the same algorithm.

        The digest may be in Docker-Content-Digest, and at the end of the Location.
        """
        location = unquote(self.headers.get("Location", "").partition("?")[0])
        for named in (self.digest, read_digest(location.rpartition("/")[2])):
            if named is not None and named.algorithm == digest.algorithm and named != digest:
                message = f"{self.host} has {subject} under another digest, {named}"
                raise DigestMismatch(message, digest=str(digest), advice=CHANGED_ADVICE)


def read_digest(text: str) -> Digest | None:
    """Read the digest in a header; None without one that can be read."""
    with suppress(InvalidValue):
        return Digest.parse(text.strip())
    return None
