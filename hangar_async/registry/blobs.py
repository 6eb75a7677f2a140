"""Opening blobs: which byte a body begins at, whatever became of the Range that was asked for.

Source: OCI distribution-spec, "Pulling blobs"; RFC 9110, section 14.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Container, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from typing import Protocol

from yarl import URL

from hangar_async.errors import DigestMismatch, NetworkError
from hangar_async.oci.manifest import Descriptor
from hangar_async.registry.addresses import is_internal, web_address
from hangar_async.registry.answer import Answer
from hangar_async.registry.body import BlobBody
from hangar_async.registry.ranges import ContentRange


class Ask(Protocol):
    """Sends a request with these headers, and raises for an answer whose status is not among the accepted."""

    def __call__(
        self, headers: Mapping[str, str], accepted: Container[int] = ...
    ) -> AbstractAsyncContextManager[Answer]:
        """Send the request; the answer is to be read inside of the block."""
        ...


@asynccontextmanager
async def open_body(ask: Ask, blob: Descriptor, what: str, start: int) -> AsyncIterator[BlobBody]:
    """Open a blob from `start` on; from 0 where the answer is the whole, an error, or not the range asked for."""
    if 0 < start < blob.size:
        async with ask({"Range": f"bytes={start}-"}, (200, 206, 416)) as answer:
            begin = _begin(answer, blob, start)
            if begin is not None:
                with closing(_body(answer, blob, what, begin)) as body:
                    yield body
                return
            await answer.drain()
    async with ask({}, (200,)) as answer:
        with closing(_body(answer, blob, what, 0)) as body:
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
