"""Responses: status, headers and body, and the host that sent them."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from hangar_async.errors import ContentError, DigestMismatch, InvalidValue, NetworkError, RegistryError
from hangar_async.oci import Digest
from hangar_async.registry.failures import reaching, refused
from hangar_async.registry.http.response_body import ResponseBody

#: The most bytes that are read of the body of an error, and the most seconds.
MAX_ERROR_BODY = 64 << 10
_ERROR_BODY_TIMEOUT = 10.0


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body is not read yet; errors name `host` as its source.

    `redirected` is True for another origin than that of the request. `open_body` opens a long body, which must be
    read and closed before the response ends.
    """

    raw: aiohttp.ClientResponse = field(repr=False)
    host: str
    redirected: bool
    open_body: Callable[[], ResponseBody] = field(repr=False)

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
    def digest(self) -> Digest | None:
        """The digest in Docker-Content-Digest; None without one that can be read."""
        return read_digest(self.headers.get("Docker-Content-Digest", ""))

    async def read(self, subject: str, limit: int, digest: str = "") -> bytes:
        """Read the whole body; raises NetworkError, or ContentError for one of more than `limit` bytes."""
        self.require_identity(subject, digest)
        body = bytearray()
        with reaching(self.host, subject):
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
                with reaching(self.host):
                    while len(body) <= MAX_ERROR_BODY and (data := await self.raw.content.readany()):
                        body += data
        return bytes(body[:MAX_ERROR_BODY])

    async def refusal(self, subject: str, source: str = "", *, push: bool = False) -> RegistryError:
        """Make the error for this response to a request for `subject`; see `failures.refused`."""
        body = await self.drain()
        return refused(
            self.host, subject, self.status, self.headers, body, source=source, redirected=self.redirected, push=push
        )

    def require_identity(self, subject: str, digest: str = "") -> None:
        """Raise ContentError for a body that is encoded although the request excluded that."""
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise ContentError(
                f"{subject} from {self.host} came with the Content-Encoding {encoding[:20]!r}, which was not asked for",
                digest=digest,
                advice="a proxy may be changing the content: use the registry without it",
            )

    def require_digest(self, digest: Digest, subject: str) -> None:
        """Raise DigestMismatch where the registry gives pushed content another digest of the same algorithm.

        The digest may be in Docker-Content-Digest, and at the end of the Location.
        """
        location = unquote(self.headers.get("Location", "").partition("?")[0])
        for named in (self.digest, read_digest(location.rpartition("/")[2])):
            if named is not None and named.algorithm == digest.algorithm and named != digest:
                raise DigestMismatch(f"{self.host} has {subject} under another digest, {named}", digest=str(digest))


def read_digest(text: str) -> Digest | None:
    """Read the digest in a header; None without one that can be read."""
    with suppress(InvalidValue):
        return Digest.parse(text.strip())
    return None
