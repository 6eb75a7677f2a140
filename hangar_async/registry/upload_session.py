"""Upload sessions: what a registry holds of a blob that is not whole yet, and the requests about it.

Source: OCI distribution-spec, "Pushing blobs"; Docker Registry HTTP API V2, "Blob Upload".
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Container, Mapping
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from urllib.parse import urlencode

from yarl import URL

from hangar_async.errors import HangarError, RegistryError
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.authorizer import push_scope
from hangar_async.registry.exchange import Call, Exchange
from hangar_async.registry.failures import push_refused
from hangar_async.registry.http.redirects import upload_address
from hangar_async.registry.http.request_body import Body
from hangar_async.registry.http.response import Answer, check_told

#: How many seconds are spent to tell a registry that an upload is given up.
_FAREWELL = 2.0
_DONE = (200, 201, 204)
_TAKEN = (200, 202, 204)
#: Answers to the question how far an upload is that mean that it is not known.
_GONE = frozenset({400, 404, 405, 409, 410, 416, 501})
_NOTHING: Mapping[str, str] = MappingProxyType({})


class UploadSession:
    """One session for a blob in an image's repository; `what` names it in errors.

    It is open while it has an `address`, which each answer may change. `minimum` is the least number of bytes that the
    registry wants in a piece that is not the last. All calls raise RegistryErrors and NetworkError.
    """

    def __init__(self, exchange: Exchange, image: Reference, blob: Descriptor) -> None:
        self.what = f"the upload of blob {blob.digest} to {image.name}"
        self.address: URL | None = None
        self.minimum = 0
        self._exchange = exchange
        self._image = image
        self._blob = blob

    async def open(self) -> None:
        """Have the registry begin one."""
        async with self._ask("POST", None, accepted=(202,)) as answer:
            await self._take_over(answer)

    async def mount(self, source_repository: str) -> bool:
        """Have the registry mount the blob from another repository; False where it has opened a session instead."""
        query = urlencode({"mount": str(self._blob.digest), "from": source_repository}, safe=":/")
        call = Call(
            what=f"the mount of blob {self._blob.digest} from {source_repository} to {self._image.name}",
            scope=push_scope(self._image, source_repository),
            path=f"{self._image.repository}/blobs/uploads/?{query}",
            method="POST",
            accepted=(201, 202),
            refuse=push_refused,
        )
        async with self._exchange.ask(self._image.registry, call) as answer:
            await answer.drain()
            if answer.status == 201:
                check_told(answer, self._blob.digest, f"blob {self._blob.digest}")
                return True
            await self._take_over(answer)
            return False

    async def _take_over(self, answer: Answer) -> None:
        """Go on with the one that a registry has begun with this answer."""
        await self._follow(answer)
        minimum = answer.headers.get("OCI-Chunk-Min-Length", "")
        self.minimum = int(minimum) if minimum.isascii() and minimum.isdigit() and len(minimum) < 19 else 0

    async def append(self, start: int, body: Body, length: int) -> int | None:
        """Send the piece that begins at `start`; returns how many bytes the registry says to have then, if it does."""
        span = {"Content-Range": f"{start}-{start + length - 1}"}
        async with self._ask("PATCH", self.address, body, headers=span, accepted=_TAKEN) as answer:
            await self._follow(answer)
            return received(answer.headers.get("Range", ""))

    async def finish(self, body: Body | None) -> None:
        """End it with what is still to come, or nothing; raises DigestMismatch where the blob is not the one meant."""
        query = f"digest={self._blob.digest}"
        url = self.address and URL(
            f"{self.address}{'&' if self.address.raw_query_string else '?'}{query}", encoded=True
        )
        async with self._ask("PUT", url, body, accepted=_DONE) as answer:
            check_told(answer, self._blob.digest, f"blob {self._blob.digest}")
        self.address = None

    async def look(self) -> int | None:
        """Ask how many bytes the registry has; None where it does not know, or does not tell for certain."""
        try:
            async with self._ask("GET", self.address, accepted=(*_TAKEN, *_GONE)) as answer:
                if answer.status in _GONE:
                    self.address = None
                    return None
                await self._follow(answer)
                return received(answer.headers.get("Range", ""))
        except RegistryError as error:
            # Another server's address may be good for a while only.
            if not (error.redirected and error.status in (401, 403)):
                raise
            self.address = None
            return None

    async def cancel(self) -> None:
        """Tell the registry that nothing more will come, as far as that can be done in 2 seconds."""
        address, self.address = self.address, None
        if address is not None:
            with suppress(HangarError, TimeoutError):
                async with asyncio.timeout(_FAREWELL), self._ask("DELETE", address, accepted=range(100, 600)):
                    pass

    async def _follow(self, answer: Answer) -> None:
        """Take the address at which it goes on; raises RegistryError for one that is not asked."""
        location = answer.headers.get("Location", "")
        if location or self.address is None:
            endpoint = await self._exchange.endpoint(self._image.registry)
            here = answer.response.url
            self.address = upload_address(endpoint.url, here, location, answer.host, answer.status)

    @asynccontextmanager
    async def _ask(
        self,
        method: str,
        address: URL | None,
        body: Body | None = None,
        *,
        headers: Mapping[str, str] = _NOTHING,
        accepted: Container[int],
    ) -> AsyncIterator[Answer]:
        call = Call(
            what=self.what,
            scope=push_scope(self._image),
            path=f"{self._image.repository}/blobs/uploads/",
            url=address,
            method=method,
            headers=headers,
            body=body,
            accepted=accepted,
            refuse=push_refused,
        )
        async with self._exchange.ask(self._image.registry, call) as answer:
            yield answer
            # Read to its end, the connection serves the next request.
            await answer.drain()


_RECEIVED = re.compile(r"(?:bytes[ =])?[ \t]*0-([0-9]{1,19})", re.IGNORECASE)


def received(text: str) -> int | None:
    """Read the Range of an upload, `0-LAST`, as how many bytes are there; None where it does not say so for certain.

    `0-0` says nothing: registries write it for one byte and for none.
    """
    match = _RECEIVED.fullmatch(text.strip())
    return int(match[1]) + 1 if match and int(match[1]) else None
