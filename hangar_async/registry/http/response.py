"""Answers: a response, and who gave it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from urllib.parse import unquote

import aiohttp
from multidict import CIMultiDictProxy

from hangar_async.errors import ContentError, DigestMismatch, InvalidValue, NetworkError, RegistryError
from hangar_async.oci.digest import Digest
from hangar_async.registry.failures import Refuse, reaching, refused
from hangar_async.registry.http.response_body import Feed


def read_digest(text: str) -> Digest | None:
    """Read a digest out of a header; None where there is none that can be read."""
    with suppress(InvalidValue):
        return Digest.parse(text.strip())
    return None


def check_told(answer: Answer, digest: Digest, what: str) -> None:
    """Raise DigestMismatch where an answer gives what was pushed another digest of the same algorithm.

    It may be told in Docker-Content-Digest, and at the end of the Location.
    """
    place = unquote(answer.headers.get("Location", "").partition("?")[0])
    named = (read_digest(answer.headers.get("Docker-Content-Digest", "")), read_digest(place.rpartition("/")[2]))
    for one in named:
        if one is not None and one.algorithm == digest.algorithm and one != digest:
            raise DigestMismatch(f"{answer.host} has {what} under another digest, {one}", digest=str(digest))


#: What is read at most of a body that is not what was asked for, in bytes.
MAX_ERROR_BODY = 64 << 10
#: How long we wait for it, in seconds: it only adds to what the status says.
_PATIENCE = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body is still to be read; `host` is whom to name as its source.

    `redirected` says that it comes from another origin than the one that was asked.
    """

    response: aiohttp.ClientResponse
    host: str
    redirected: bool
    #: Receives a body that is long; see `feed_of`.
    feed: Callable[[], Feed]

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    @property
    def headers(self) -> CIMultiDictProxy[str]:
        """The header fields."""
        return self.response.headers

    async def read(self, what: str, limit: int, digest: str = "") -> bytes:
        """Read the whole body; raises NetworkError, or ContentError for one of more than `limit` bytes."""
        self.require_identity(what, digest)
        body = bytearray()
        with reaching(self.host, what):
            while data := await self.response.content.readany():
                body += data
                if len(body) > limit:
                    raise ContentError(f"{what} from {self.host} is larger than {limit} bytes", digest=digest)
        return bytes(body)

    async def drain(self) -> bytes:
        """Read what is said beside the status as far as it is short, so that the connection can be used again."""
        body = bytearray()
        with suppress(NetworkError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                with reaching(self.host):
                    while len(body) <= MAX_ERROR_BODY and (data := await self.response.content.readany()):
                        body += data
        return bytes(body[:MAX_ERROR_BODY])

    async def refusal(self, what: str, source: str = "", refuse: Refuse = refused) -> RegistryError:
        """Make the error for this answer to the wish for `what`, asked with the credentials from `source`."""
        body = await self.drain()
        return refuse(self.host, what, self.status, self.headers, body, source=source, redirected=self.redirected)

    def require_identity(self, what: str, digest: str = "") -> None:
        """Raise ContentError for a body that is encoded although we asked for it as it is."""
        encoding = self.headers.get("Content-Encoding", "").strip().lower()
        if encoding not in ("", "identity"):
            raise ContentError(
                f"{what} from {self.host} came with the Content-Encoding {encoding[:20]!r}, which was not asked for",
                digest=digest,
                advice="a proxy may be changing what it hands on: ask the registry without it",
            )
