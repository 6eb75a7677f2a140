"""The client of the distribution protocol: manifests and blobs from registries.

Source: OCI distribution-spec, "Pull".
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Self

from yarl import URL

from hangar_async.blocking import in_thread
from hangar_async.config import RegistrySettings
from hangar_async.errors import DigestMismatch, InvalidValue, NotFound
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry import presence
from hangar_async.registry.answer import Answer
from hangar_async.registry.auth import Authorizer, Scope
from hangar_async.registry.blobs import foreign_url, open_body
from hangar_async.registry.body import BlobBody
from hangar_async.registry.credentials import Credentials
from hangar_async.registry.endpoints import Endpoints
from hangar_async.registry.exchange import Call, Exchange
from hangar_async.registry.flights import Flights
from hangar_async.registry.quota import Heard, Quota
from hangar_async.registry.tokens import TokenServer
from hangar_async.registry.transport import Transport

_INLINE = 64 << 10


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest or index exactly as it was served; `digest` is computed from its bytes."""

    raw: bytes = field(repr=False)
    content_type: str
    digest: Digest


def _ignore(*what: object) -> None:
    """Tell nobody."""


class RegistryClient:
    """Asks registries for manifests and blobs, over one session that is closed when the block ends.

    `username_for` is the registry, normalised, that the settings' user name and password are for; no other host ever
    gets them. `connections` must be at least the number of requests that run at once. `notice` is told what a person
    should know, `quota` what a registry says is left of the requests that it allows. Nothing is tried again here but
    a request whose token has run out.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        username_for: str | None = None,
        connections: int = 20,
        notice: Callable[[str], None] = _ignore,
        quota: Heard = _ignore,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._quota = quota
        self._flights = Flights()
        self._transport = Transport(settings, connections)
        self._endpoints = Endpoints(settings, self._transport, self._flights, notice)
        self.credentials = Credentials(settings, username_for, notice)
        authorizer = Authorizer(self.credentials, TokenServer(self._transport, clock), self._flights, clock)
        #: What other requests to the same registries are made through.
        self.exchange = Exchange(self._transport, self._endpoints, authorizer)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.credentials.load()
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
        what = f"manifest {f'{image.name}@{digest}' if digest else image}"
        path = f"{image.repository}/manifests/{asked or image.tag}"
        async with self._ask(image, path, what, {"Accept": media_types.ACCEPT}) as answer:
            if (quota := Quota.parse(answer.headers)) is not None:
                self._quota(image.registry, quota)
            raw = await answer.read(what, MAX_DOCUMENT, str(asked or ""))
        source = f"{what} from {answer.host}"
        actual = await digest_of(raw, asked.algorithm if asked else "sha256")
        if asked and actual != asked:
            raise DigestMismatch(f"{source} has another digest, {actual}", digest=str(asked))
        await _check_told(raw, answer.headers.get("Docker-Content-Digest", ""), source)
        return ServedManifest(raw, answer.headers.get("Content-Type", ""), actual)

    async def head_manifest(
        self, image: Reference, digest: Digest | None = None, *, pushing: bool = False
    ) -> Descriptor | None:
        """Ask what manifest an image's repository has: the one of `digest`, else the one that `image` names.

        Returns its type, digest and size in bytes; None where it is not there. A registry that does not tell them is
        asked for the manifest itself. `pushing` asks with the rights that a push needs. Raises as get_manifest does.
        """
        asked = digest or image.digest
        with suppress(InvalidValue):
            return await presence.head_manifest(self.exchange, image, asked, self._quota, pushing=pushing)
        try:
            served = await self.get_manifest(image, asked)
        except NotFound:
            return None
        return Descriptor(served.content_type.partition(";")[0].strip(), served.digest, len(served.raw))

    async def told_manifest(self, image: Reference) -> Descriptor | None:
        """Ask by HEAD alone what manifest `image` names, which counts against no quota of Docker Hub's.

        Returns None where it is not there, or its type, digest and size are not told. Raises as get_manifest does.
        """
        with suppress(InvalidValue):
            return await presence.head_manifest(self.exchange, image, image.digest, self._quota)
        return None

    @asynccontextmanager
    async def open_blob(self, image: Reference, blob: Descriptor, start: int = 0) -> AsyncIterator[BlobBody]:
        """Open a blob of an image's repository, from byte `start` on where the registry can do that, else from 0.

        Raises as get_manifest does; ContentError for a body that is encoded, DigestMismatch for one of another size.
        """
        what = f"blob {blob.digest} of {image.name}"
        path = f"{image.repository}/blobs/{blob.digest}"
        async with open_body(partial(self._ask, image, path, what), blob, what, start) as body:
            yield body

    @asynccontextmanager
    async def open_foreign(self, url: str, blob: Descriptor, start: int = 0) -> AsyncIterator[BlobBody]:
        """Open a blob at one of the addresses that its descriptor names; never with credentials.

        An address on this machine or its link is refused, unless a registry there is part of this run.
        """
        target = foreign_url(url, trusted=any(endpoint.is_internal for endpoint in self._endpoints.known))
        what = f"foreign blob {blob.digest}"
        async with open_body(partial(self._ask_foreign, target, what), blob, what, start) as body:
            yield body

    def _ask(
        self, image: Reference, path: str, what: str, headers: Mapping[str, str], accepted: Container[int] = (200,)
    ) -> AbstractAsyncContextManager[Answer]:
        """Ask an image's registry for something to be pulled; raises RegistryErrors for answers not accepted."""
        call = Call(what=what, scope=Scope(image.repository), path=path, headers=headers, accepted=accepted)
        return self.exchange.ask(image.registry, call)

    @asynccontextmanager
    async def _ask_foreign(
        self, url: URL, what: str, headers: Mapping[str, str], accepted: Container[int] = (200,)
    ) -> AsyncIterator[Answer]:
        async with self._transport.send(url, url.host_port_subcomponent or "", headers=headers) as answer:
            if answer.status not in accepted:
                raise await answer.refusal(what)
            yield answer


async def digest_of(raw: bytes, algorithm: str) -> Digest:
    """Compute the digest of a document, in a thread where it is long."""
    return Digest.of(raw, algorithm) if len(raw) <= _INLINE else await in_thread(Digest.of, raw, algorithm)


async def _check_told(raw: bytes, told: str, source: str) -> None:
    """Compare bytes with the Docker-Content-Digest that came with them; one that is no digest says nothing."""
    try:
        digest = Digest.parse(told.strip())
    except InvalidValue:
        return
    if digest != await digest_of(raw, digest.algorithm):
        raise DigestMismatch(f"{source} does not have the digest {digest} that it was sent with", digest=str(digest))
