"""The client of the distribution protocol: manifests and blobs from registries.

Source: OCI distribution-spec, "Pull".
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Container, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import ContentError, DigestMismatch, Incomplete, InvalidValue, NotFound, RegistryError
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.tokens import TokenServer
from hangar_async.registry.authorizer import Authorizer, Scope, push_scope
from hangar_async.registry.blobs import BlobBody, foreign_url, has_blob, open_body
from hangar_async.registry.endpoints import Endpoints
from hangar_async.registry.exchange import Call, Exchange
from hangar_async.registry.failures import push_refused
from hangar_async.registry.http.response import Answer, check_told, read_digest
from hangar_async.registry.http.transport import Transport
from hangar_async.registry.manifests import (
    _PUT,
    Heard,
    PushedManifest,
    Quota,
    ServedManifest,
    _check_told,
    digest_of,
    head_manifest,
)
from hangar_async.registry.uploads import Upload
from hangar_async.singleflight import SingleFlight


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
        self._flights = SingleFlight()
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
            return await head_manifest(self.exchange, image, asked, self._quota, pushing=pushing)
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
            return await head_manifest(self.exchange, image, image.digest, self._quota)
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


class RegistryPusher:
    """Asks registries to take manifests and blobs, over the session of a client, which stays open.

    Every call is a single try, of which nothing is kept when it fails but in an Upload. Children have to be pushed
    before parents, and by tag last; that is the caller's work. All raise NetworkError and RegistryErrors: Unauthorized,
    NotFound where the repository is to be made first, others with what was refused and what to do.
    """

    def __init__(self, client: RegistryClient) -> None:
        self._client = client
        self._exchange = client.exchange
        # The largest body that each registry was found to take.
        self._largest: dict[str, int] = {}

    async def ping(self, registry: str) -> bool:
        """Check that a host is a registry, and takes the credentials that are known for it, or none.

        False says that it asked for none, so that any would have been taken.
        Source: OCI distribution-spec, "Determining Support".
        """
        call = Call(what="its API", scope=Scope(), refuse=push_refused)
        try:
            async with self._exchange.ask(registry, call) as answer:
                page = "html" in answer.headers.get("Content-Type", "").lower()
                await answer.drain()
        except NotFound as error:
            raise _no_registry(registry, error.status) from error
        if page:
            raise _no_registry(registry, 200)
        return bool((await self._exchange.endpoint(registry)).challenges)

    async def has_blob(self, image: Reference, blob: Descriptor) -> bool:
        """Whether the repository of an image has a blob; one request, without a body."""
        return await has_blob(self._exchange, image, blob)

    async def head_manifest(self, image: Reference, digest: Digest | None = None) -> Descriptor | None:
        """Ask for a manifest of an image's repository: the one of `digest`, else the one that `image` names.

        Returns its type, digest and size in bytes; None where it is not there. A registry that does not tell them is
        asked for the manifest itself. Raises DigestMismatch where it tells another digest than the one asked for.
        """
        return await self._client.head_manifest(image, digest, pushing=True)

    async def mount_blob(self, image: Reference, blob: Descriptor, origin: str) -> Upload | None:
        """Have a blob that the repository `origin` of the same registry holds appear in the repository of an image.

        None says that it is there. Else the upload is returned that has to bring it: one that the registry has opened
        instead, or a new one where it refused the mount.
        Source: OCI distribution-spec, "Mounting a blob from another repository".
        """
        query = urlencode({"mount": str(blob.digest), "from": origin}, safe=":/")
        upload = self.upload(image, blob)
        call = Call(
            what=f"the mount of blob {blob.digest} from {origin} to {image.name}",
            scope=push_scope(image, origin),
            path=f"{image.repository}/blobs/uploads/?{query}",
            method="POST",
            accepted=(201, 202),
            refuse=push_refused,
        )
        try:
            async with self._exchange.ask(image.registry, call) as answer:
                await answer.drain()
                if answer.status == 201:
                    check_told(answer, blob.digest, f"blob {blob.digest}")
                    return None
                await upload.take_over(answer)
        except RegistryError as error:
            if error.transient and not isinstance(error, Incomplete):
                raise
        return upload

    def upload(self, image: Reference, blob: Descriptor) -> Upload:
        """Return an upload of a blob to the repository of an image; it begins when something is sent."""
        return Upload(self._exchange, image, blob, self._largest)

    async def put_manifest(
        self, image: Reference, raw: bytes, media_type: str, digest: Digest | None = None
    ) -> PushedManifest:
        """Push a manifest or index, byte for byte: under `digest`, else under the image's tag, else under its digest.

        Raises ContentError for bytes that do not have the digest they are to be pushed under, and DigestMismatch where
        the registry has them under another one.
        Source: OCI distribution-spec, "Pushing manifests".
        """
        named = digest or (None if image.tag else image.digest)
        actual = await digest_of(raw, named.algorithm if named else "sha256")
        what = f"manifest {f'{image.name}@{named}' if named else f'{image.name}:{image.tag}'}"
        if named and named != actual:
            raise ContentError(f"{what} was to be pushed, but its bytes have the digest {actual}", digest=str(named))
        call = Call(
            what=what,
            scope=push_scope(image),
            path=f"{image.repository}/manifests/{named or image.tag}",
            method="PUT",
            headers={"Content-Type": media_type},
            body=raw,
            accepted=_PUT,
            refuse=push_refused,
        )
        async with self._exchange.ask(image.registry, call) as answer:
            await answer.drain()
            check_told(answer, actual, what)
            return PushedManifest(actual, read_digest(answer.headers.get("OCI-Subject", "")))


def _no_registry(registry: str, status: int) -> NotFound:
    return NotFound(
        f"{registry} is no registry: it does not speak the protocol at /v2/",
        host=registry,
        status=status,
        advice="check name and port: a registry is HOST or HOST:PORT, what follows belongs to the images in it",
    )
