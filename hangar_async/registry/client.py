"""The client of the distribution protocol: manifests and blobs from registries.

Source: OCI distribution-spec, "Pull".
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import aiohttp
from yarl import URL

from hangar_async.blocking import in_thread
from hangar_async.config import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, InvalidValue, RegistryError
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.addresses import is_internal
from hangar_async.registry.auth import Authorization, Authorizer
from hangar_async.registry.body import BlobBody
from hangar_async.registry.credentials import Credentials
from hangar_async.registry.endpoints import Endpoint, Endpoints
from hangar_async.registry.failures import denied
from hangar_async.registry.flights import Flights
from hangar_async.registry.ranges import ContentRange
from hangar_async.registry.tokens import TokenServer
from hangar_async.registry.transport import Transport, drain, read_whole, refusal

_INLINE = 64 << 10


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest or index exactly as it was served; `digest` is computed from its bytes."""

    raw: bytes = field(repr=False)
    content_type: str
    digest: Digest


def _ignore(text: str) -> None:
    """Tell nobody."""


class RegistryClient:
    """Asks registries for manifests and blobs, over one session that is closed when the block ends.

    `username_for` is the registry, normalised, that the settings' user name and password are for; no other host ever
    gets them. `connections` must be at least the number of requests that run at once. `notice` is told what a person
    should know. Nothing is tried again here but a request whose token has run out.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        username_for: str | None = None,
        connections: int = 20,
        notice: Callable[[str], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._flights = Flights()
        self._transport = Transport(settings, connections)
        self._endpoints = Endpoints(settings, self._transport, self._flights, notice)
        self._credentials = Credentials(settings, username_for, notice)
        self._authorizer = Authorizer(self._credentials, TokenServer(self._transport, clock), self._flights, clock)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._credentials.load()
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self._transport)
            await stack.enter_async_context(self._flights)
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def get_manifest(self, image: Reference, digest: Digest | None = None) -> ServedManifest:
        """Get a manifest or index of an image's repository: the one of `digest`, else the one that `image` names.

        Raises NotFound, Unauthorized and other RegistryErrors, NetworkError, ContentError for one of more than 4 MiB,
        and DigestMismatch where the bytes are not those that were asked for.
        """
        asked = digest or image.digest
        what = f"manifest {image if digest is None else f'{image.name}@{digest}'}"
        path = f"{image.repository}/manifests/{asked or image.tag}"
        async with self._ask(image, path, what, {"Accept": media_types.ACCEPT}) as (response, host):
            if response.status != 200:
                raise await refusal(response, host, what)
            _require_identity(response, host, what)
            raw = await read_whole(response, host, what, MAX_DOCUMENT, str(asked or ""))
            content_type = response.headers.get("Content-Type", "")
            told = response.headers.get("Docker-Content-Digest", "")
        actual = await _digest(raw, asked.algorithm if asked else "sha256")
        if asked and actual != asked:
            raise DigestMismatch(f"{what} from {host} has the digest {actual}", digest=str(asked))
        await _check_told(raw, told, f"{what} from {host}")
        return ServedManifest(raw, content_type, actual)

    @asynccontextmanager
    async def open_blob(self, image: Reference, blob: Descriptor, start: int = 0) -> AsyncIterator[BlobBody]:
        """Open a blob of an image's repository, from byte `start` on where the registry can do that, else from 0."""
        what = f"blob {blob.digest} of {image.name}"
        path = f"{image.repository}/blobs/{blob.digest}"
