"""Opening blobs: which byte a body begins at, whatever became of the Range that was asked for.

Source: OCI distribution-spec, "Pulling blobs"; RFC 9110, section 14.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias

from yarl import URL

from hangar_async.errors import DigestMismatch, NetworkError, RegistryError
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.authorizer import Scope, push_scope
from hangar_async.registry.exchange import NO_HEAD, Call, Exchange
from hangar_async.registry.failures import push_refused, reaching
from hangar_async.registry.http.addresses import is_internal, web_address
from hangar_async.registry.http.response import Answer
from hangar_async.registry.http.response_body import Feed


class BlobBody:
    """The bytes of a blob from `start` on, read once. Made by `open_blob` and `open_foreign`, which closes it."""

    def __init__(self, feed: Feed, blob: Descriptor, start: int, host: str) -> None:
        self.start = start
        self._feed = feed
        self._blob = blob
        self._host = host
        self._expected = blob.size - start
        self._arrived = 0

    def pieces(self) -> AsyncIterator[bytes | memoryview]:
        """Iterate over the bytes, in pieces of 256 to 512 KiB; the last one may be smaller.

        A piece is good until the next one is asked for. When the body breaks, stalls or ends early, all that had
        arrived is handed out first; then NetworkError is raised, with the number of these bytes as `gained`. Raises
        DigestMismatch for more bytes than the blob has.
        """
        return self

    def __aiter__(self) -> AsyncIterator[bytes | memoryview]:
        return self

    async def __anext__(self) -> bytes | memoryview:
        try:
            with reaching(self._host, f"blob {self._blob.digest}"):
                piece = await self._feed.next()
        except NetworkError as error:
            error.gained = self._arrived
            raise
        self._arrived += len(piece)
        if self._arrived > self._expected:
            raise DigestMismatch(
                f"blob {self._blob.digest} from {self._host} is larger than the declared {self._blob.size} bytes",
                digest=str(self._blob.digest),
            )
        if not piece:
            raise StopAsyncIteration if self._arrived == self._expected else self._early()
        return piece

    def close(self) -> None:
        """Let go of the connection; may be called again."""
        self._feed.close()

    def _early(self) -> NetworkError:
        return NetworkError(
            f"blob {self._blob.digest} from {self._host} ended after "
            f"{self.start + self._arrived} of {self._blob.size} bytes",
            host=self._host,
            gained=self._arrived,
        )


_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes from `first` to `last`, both held, of `total` (None where the server doesn't say)."""

    first: int
    last: int
    total: int | None

    @classmethod
    def parse(cls, text: str) -> ContentRange | None:
        """Read the value of a Content-Range header; None for what is none, or cannot be."""
        match = _CONTENT_RANGE.fullmatch(text.strip())
        if not match:
            return None
        first, last = int(match[1]), int(match[2])
        total = None if match[3] == "*" else int(match[3])
        return cls(first, last, total) if first <= last and (total is None or last < total) else None

    def is_rest(self, start: int, size: int) -> bool:
        """Whether this is all of a blob of `size` bytes from `start` on."""
        return self.first == start and self.last == size - 1 and self.total in (None, size)


_Ask: TypeAlias = Callable[[Call], AbstractAsyncContextManager[Answer]]
#: What storage that a registry sent us to may say to a HEAD, although its address is right for a GET.
_ONLY_GET = frozenset({400, 401, 403})


async def has_blob(exchange: Exchange, image: Reference, blob: Descriptor) -> bool:
    """Whether an image's repository has a blob, as far as the registry can tell; see RegistryClient.has_blob."""
    call = Call(
        what=f"blob {blob.digest} of {image.name}",
        scope=push_scope(image),
        path=f"{image.repository}/blobs/{blob.digest}",
        method="HEAD",
        accepted=(200, 404, *NO_HEAD),
        refuse=push_refused,
    )
    try:
        async with exchange.ask(image.registry, call) as answer:
            return answer.status == 200
    except RegistryError as error:
        if error.redirected and error.status in _ONLY_GET:
            return False
        raise


def open_blob(
    exchange: Exchange, image: Reference, blob: Descriptor, start: int
) -> AbstractAsyncContextManager[BlobBody]:
    """Open a blob of a repository; see RegistryClient.open_blob."""
    call = Call(
        what=f"blob {blob.digest} of {image.name}",
        scope=Scope(image.repository),
        path=f"{image.repository}/blobs/{blob.digest}",
    )
    return _open(partial(exchange.ask, image.registry), call, blob, start)


def open_foreign(
    exchange: Exchange, address: str, blob: Descriptor, start: int
) -> AbstractAsyncContextManager[BlobBody]:
    """Open a blob at an address that its descriptor names; see RegistryClient.open_foreign."""
    url = foreign_url(address, trusted=exchange.asks_internal)
    return _open(exchange.ask_elsewhere, Call(what=f"foreign blob {blob.digest}", scope=Scope(), url=url), blob, start)


@asynccontextmanager
async def _open(ask: _Ask, call: Call, blob: Descriptor, start: int) -> AsyncIterator[BlobBody]:
    """Open a blob from `start` on; from 0 where the answer is the whole, an error, or not the range asked for."""
    if 0 < start < blob.size:
        ranged = replace(call, headers={"Range": f"bytes={start}-"}, accepted=(200, 206, 416))
        async with ask(ranged) as answer:
            begin = _begin(answer, blob, start)
            if begin is not None:
                with closing(_body(answer, blob, call.what, begin)) as body:
                    yield body
                return
            await answer.drain()
    async with ask(call) as answer:
        with closing(_body(answer, blob, call.what, 0)) as body:
            yield body


def _begin(answer: Answer, blob: Descriptor, start: int) -> int | None:
    """Tell at which byte of the blob the answer to a range begins; None where it is of no use."""
    if answer.status == 200:
        return 0
    held = ContentRange.parse(answer.headers.get("Content-Range", ""))
    return start if answer.status == 206 and held and held.is_rest(start, blob.size) else None


def _body(answer: Answer, blob: Descriptor, what: str, begin: int) -> BlobBody:
    answer.require_identity(what, str(blob.digest))
    length = answer.response.content_length
    if length is not None and length != blob.size - begin:
        raise DigestMismatch(
            f"{what} from {answer.host} has {begin + length} bytes, not the declared {blob.size}",
            digest=str(blob.digest),
        )
    return BlobBody(answer.feed(), blob, begin, answer.host)


def host_of(address: str) -> str:
    """Name the host of an address that a descriptor names; "" for what is no address."""
    try:
        return URL(address).host_port_subcomponent or ""
    except ValueError:
        return ""


def foreign_url(text: str, *, trusted: bool) -> URL:
    """Read an address that a descriptor names; raises NetworkError for one that we do not ask.

    `trusted` allows addresses on this machine or its link.
    """
    url = web_address(text) or URL()
    why = ""
    if not url.host:
        why = "is no web address"
    elif url.user is not None or url.password is not None:
        why = "has a user name in it"
    elif is_internal(url.host or "") and not trusted:
        why = "is on this machine or its link"
    if why:
        raise NetworkError(
            f"the address of a foreign layer {why} ({url.host or 'unreadable'})",
            host=url.host or "",
            transient=False,
            advice="leave the layer out, or ask the publisher of the image",
        )
    return url
