"""Upload sessions: the requests that send a blob to a repository, one at a time.

Source: OCI distribution-spec, "Pushing blobs"; Docker Registry HTTP API V2, "Blob Upload".
"""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from urllib.parse import urlencode

from yarl import URL

from hangar_async.errors import HangarError, NetworkError, RegistryError
from hangar_async.oci import Descriptor, Reference
from hangar_async.registry.exchange import Call, Exchange
from hangar_async.registry.failures import NOT_THERE
from hangar_async.registry.http.addresses import upload_address
from hangar_async.registry.http.request_body import Body
from hangar_async.registry.http.response import Response
from hangar_async.tasks import undone_if_cancelled

#: The time to cancel an upload at a registry, in seconds.
_CANCEL_TIMEOUT = 1.5
#: Registries answer with 201 to a piece, and with 202 to the end.
_COMPLETE = _ACCEPTED = (200, 201, 202, 204)
_LOST_PORT = (
    "{registry} wants uploads to go on at its port {port}, where nothing answers: correct the address that it gives "
    "(http.host in its configuration, or X-Forwarded-Host with the port in the proxy before it)"
)
#: Statuses of a registry that does not know an upload, or cannot tell its offset.
_UNKNOWN = frozenset({*NOT_THERE, 400, 405, 409, 416, 501})
_RANGE = re.compile(r"(?:bytes[ =])?[ \t]*0-([0-9]{1,19})", re.IGNORECASE)


class UploadSession:
    """One session for a blob in an image's repository; `subject` names it in errors.

    It is open while its `address` is not empty; each response may change it. `minimum` is the least number of bytes
    that the registry wants in a piece that is not the last. All calls raise RegistryErrors and NetworkError.
    """

    def __init__(self, exchange: Exchange, image: Reference, blob: Descriptor) -> None:
        self.subject = f"the upload of blob {blob.digest} to {image.name}"
        self.address = URL()
        self.minimum = 0
        self._exchange = exchange
        self._image = image
        self._blob = blob
        registry, repository, path = image.registry, image.repository, "blobs/uploads/"
        self._call = Call(subject=self.subject, registry=registry, repository=repository, path=path, push=True)

    async def adopt(self, address: str) -> None:
        """Take the address of a session of an earlier run; raises RegistryError for one that is not safe any more."""
        endpoint, named = await self._exchange.endpoints.find(self._image.registry), self._exchange.transport.named
        registry, internal = self._image.registry, endpoint.internal
        self.address = upload_address(endpoint.url, endpoint.url, address, registry, 0, internal=internal, named=named)
        self._call = replace(self._call, internal=internal)

    async def open(self) -> None:
        """Have the registry open one."""
        await self._open(replace(self._call, method="POST", accepted=(202,)))

    async def mount(self, source_repository: str) -> bool:
        """Have the registry mount the blob from another repository; False where it has opened a session instead."""
        query = urlencode({"mount": str(self._blob.digest), "from": source_repository}, safe=":/")
        call = replace(
            self._call,
            subject=f"the mount of blob {self._blob.digest} from {source_repository} to {self._image.name}",
            source_repository="" if source_repository == self._image.repository else source_repository,
            path=f"{self._call.path}?{query}",
            method="POST",
            accepted=(201, 202),
        )
        return not await self._open(call)

    async def append(self, start: int, body: Body, length: int) -> int | None:
        """Send the piece that begins at `start`; returns the number of bytes of the registry then, if it sends it."""
        headers = {"Content-Range": f"{start}-{start + length - 1}"}
        call = replace(self._call, method="PATCH", url=self.address, body=body, headers=headers, accepted=_ACCEPTED)
        async with self._ask(call) as response:
            await self._follow(response)
            return received_bytes(response.headers.get("Range", ""))

    async def finish(self, body: Body | None) -> None:
        """Send the rest, or nothing, and close it; raises DigestMismatch where the registry has another blob."""
        query = f"digest={self._blob.digest}"
        url = URL(f"{self.address}{'&' if self.address.raw_query_string else '?'}{query}", encoded=True)
        async with self._ask(replace(self._call, method="PUT", url=url, body=body, accepted=_COMPLETE)) as response:
            response.require_digest(self._blob.digest, f"blob {self._blob.digest}")
        self.address = URL()

    async def offset(self) -> int | None:
        """Ask for the number of bytes that the registry has; None where that is not certain."""
        try:
            async with self._ask(replace(self._call, url=self.address, accepted=(*_ACCEPTED, *_UNKNOWN))) as response:
                if response.status in _UNKNOWN:
                    if response.status in NOT_THERE:
                        self.address = URL()
                    return None
                await self._follow(response)
                return received_bytes(response.headers.get("Range", ""))
        except RegistryError as error:
            # The address of another server may expire.
            if not (error.redirected and error.status in (401, 403)):
                raise
            self.address = URL()
            return None

    async def cancel(self) -> None:
        """Cancel the session at the registry, as far as that is possible in 2 seconds."""
        address, self.address = self.address, URL()
        if address:
            call = replace(self._call, method="DELETE", url=address, accepted=range(100, 600))
            with suppress(HangarError, TimeoutError):
                async with asyncio.timeout(_CANCEL_TIMEOUT), self._ask(call):
                    pass

    async def _open(self, call: Call) -> bool:
        """Make a request that opens a session or mounts the blob; return True for a session.

        A cancellation waits a moment for the response: nobody else learns the address of the session.
        """

        async def ask() -> bool:
            async with self._ask(call) as response:
                if response.status == 202:
                    await self._begin(response)
                    return True
                response.require_digest(self._blob.digest, f"blob {self._blob.digest}")
                return False

        return await undone_if_cancelled(ask, self.cancel, _CANCEL_TIMEOUT)

    async def _begin(self, response: Response) -> None:
        await self._follow(response)
        minimum = response.headers.get("OCI-Chunk-Min-Length", "")
        self.minimum = int(minimum) if minimum.isascii() and minimum.isdigit() and len(minimum) < 19 else 0

    async def _follow(self, response: Response) -> None:
        """Note the address of the next request; raises RegistryError for one that is not safe."""
        location = response.headers.get("Location", "")
        if location or not self.address:
            endpoint = await self._exchange.endpoints.find(self._image.registry)
            self.address = upload_address(
                endpoint.url,
                response.url,
                location,
                response.host,
                response.status,
                internal=response.internal,
                named=self._exchange.transport.named,
            )
            self._call = replace(self._call, internal=response.internal)

    @asynccontextmanager
    async def _ask(self, call: Call) -> AsyncIterator[Response]:
        try:
            async with self._exchange.ask(call) as response:
                yield response
                # After the end of the body the connection serves the next request.
                await response.drain()
        except NetworkError as error:
            first = (await self._exchange.endpoints.find(self._image.registry)).url
            if error.missing == "connection" and call.url.host == first.host and call.url.port != first.port:
                error.advice = _LOST_PORT.format(registry=self._image.registry, port=call.url.port)
            raise


def received_bytes(text: str) -> int | None:
    """Read the Range of an upload, `0-LAST`, as the number of bytes received; None where it is not certain.

    `0-0` means nothing: registries write it for one byte and for none.
    """
    match = _RANGE.fullmatch(text.strip())
    return int(match[1]) + 1 if match and int(match[1]) else None
