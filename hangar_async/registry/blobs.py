"""Blobs of repositories: their existence, and their bytes from a given one on, also without ranges.

Source: OCI distribution-spec, "Pulling blobs"; RFC 9110, section 14.
"""

import re
from collections.abc import AsyncIterator, Container, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing, contextmanager
from dataclasses import replace
from typing import Any, Self

from yarl import URL

from hangar_async.errors import DigestMismatch, NetworkError, RegistryError
from hangar_async.oci import AsyncPieces, Descriptor, Piece, Reference
from hangar_async.registry.exchange import NO_HEAD, Call, Exchange
from hangar_async.registry.failures import NOT_THERE, Reaching
from hangar_async.registry.http.addresses import unsafe, web_address
from hangar_async.registry.http.response import Response

#: Statuses of a HEAD that a storage refuses at an address, given by a registry, that is right for a GET.
_ONLY_GET = frozenset({400, 401, 403})
#: Statuses to a request of a range of servers that may give the whole: they ignore, refuse, or do not know the range.
_RANGED = frozenset({*range(200, 300), 400, 416, 501})
_CONTENT_RANGE = re.compile(r"bytes[ \t]+([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.IGNORECASE)


class BlobBody:
    """The bytes of a blob from byte `start` on, read once.

    RegistryClient.open_blob and RegistryClient.open_foreign open one, and close it at the end of their block.
    """

    def __init__(self, pieces: AsyncPieces, blob: Descriptor, start: int, host: str, origin: str) -> None:
        self.start = start
        self._pieces = pieces
        self._blob = blob
        self._name = f"blob {blob.digest} from {origin}"
        self._host = host
        self._expected = blob.size - start
        self._arrived = 0

    def pieces(self) -> AsyncPieces:
        """Iterate over the bytes, in pieces of 256 to 512 KiB; the last one may be smaller.

        A piece is valid until the next one is read. When the body breaks, stalls or ends early, all bytes so far come
        first; then NetworkError is raised, with the number of these bytes as `gained`. Raises DigestMismatch for more
        bytes than the blob has; the digest is not compared here.
        """
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Piece:
        try:
            with Reaching(self._host, f"blob {self._blob.digest}"):
                piece = await anext(self._pieces, b"")
        except NetworkError as error:
            error.gained = self._arrived
            raise
        self._arrived += len(piece)
        if self._arrived > self._expected:
            raise DigestMismatch(
                f"{self._name} is larger than the declared {self._blob.size} bytes", digest=str(self._blob.digest)
            )
        if not piece and self._arrived < self._expected:
            count = self.start + self._arrived
            message = f"{self._name} ended after {count} of {self._blob.size} bytes"
            raise NetworkError(message, host=self._host, gained=self._arrived)
        if not piece:
            raise StopAsyncIteration
        return piece


async def has_blob(exchange: Exchange, image: Reference, blob: Descriptor) -> bool:
    """Tell whether a repository has a blob; see RegistryClient.has_blob."""
    call = _call(image, blob, method="HEAD", accepted=(200, *NOT_THERE, *NO_HEAD), push=True)
    try:
        async with exchange.ask(call) as response:
            return response.status == 200
    except RegistryError as error:
        if error.redirected and error.status in _ONLY_GET:
            return False
        raise


def open_blob(
    exchange: Exchange, image: Reference, blob: Descriptor, start: int
) -> AbstractAsyncContextManager[BlobBody]:
    """Open a blob of a repository; see RegistryClient.open_blob."""
    return _open(exchange, _call(image, blob), blob, start)


def open_foreign(
    exchange: Exchange, address: str, blob: Descriptor, start: int
) -> AbstractAsyncContextManager[BlobBody]:
    """Open a blob at an address that its descriptor names; see RegistryClient.open_foreign."""
    internal = exchange.endpoints.any_internal
    url = foreign_url(address, internal=internal, named=exchange.transport.named)
    return _open(exchange, Call(subject=f"foreign blob {blob.digest}", url=url, internal=internal), blob, start)


def foreign_url(address: str, *, internal: bool, named: Container[str] = ()) -> URL:
    """Read an address that a descriptor names; raises NetworkError for one that is not safe, see `unsafe`."""
    url = web_address(address)
    if problem := unsafe(url, tls=False, internal=internal, named=named):
        raise NetworkError(
            f"the address of a foreign layer is {problem}, which is not asked",
            host=url.host or "",
            transient=False,
            advice="leave the layer out, or ask the publisher of the image",
        )
    return url


def host_of(address: str) -> str:
    """Return the host of an address that a descriptor names; "" for a text that is no web address."""
    return web_address(address).host_port_subcomponent or ""


def _call(image: Reference, blob: Descriptor, **more: Any) -> Call:
    subject, path = f"blob {blob.digest} of {image.name}", f"blobs/{blob.digest}"
    return Call(subject=subject, registry=image.registry, repository=image.repository, path=path, **more)


@asynccontextmanager
async def _open(exchange: Exchange, call: Call, blob: Descriptor, start: int) -> AsyncIterator[BlobBody]:
    """Open a blob from `start` on; from 0 where the response is the whole blob, an error, or another range."""
    if 0 < start < blob.size:
        ranged = replace(call, headers={"Range": f"bytes={start}-"}, accepted=_RANGED)
        async with exchange.ask(ranged) as response:
            first = _first_byte(response, blob, start)
            if first is not None:
                with _body(response, blob, call.subject, first) as body:
                    yield body
                return
            await response.drain()
    async with exchange.ask(call) as response:
        with _body(response, blob, call.subject, 0) as body:
            yield body


def _first_byte(response: Response, blob: Descriptor, start: int) -> int | None:
    """Tell at which byte of the blob the response to a range begins; None where it cannot be used."""
    length = response.raw.content_length
    if response.status == 200 and length in (None, blob.size):
        return 0
    is_usable = response.status == 206 and is_rest(response.headers.get("Content-Range", ""), start, blob.size)
    return start if is_usable and length in (None, blob.size - start) else None


def is_rest(content_range: str, start: int, size: int) -> bool:
    """Tell whether a Content-Range header is of all bytes of a blob from `start` on; `size` is that of the blob."""
    match = _CONTENT_RANGE.fullmatch(content_range.strip())
    if match is None or not start < size:
        return False
    return (int(match[1]), int(match[2])) == (start, size - 1) and (match[3] == "*" or int(match[3]) == size)


@contextmanager
def _body(response: Response, blob: Descriptor, subject: str, first: int) -> Iterator[BlobBody]:
    length = response.raw.content_length
    if length is not None and length != blob.size - first:
        raise DigestMismatch(
            f"{subject} from {response.origin} has {first + length} bytes, not the declared {blob.size}",
            digest=str(blob.digest),
        )
    with closing(response.open_body()) as pieces:
        yield BlobBody(pieces, blob, first, response.host, response.origin)
