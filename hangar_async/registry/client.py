"""The client of the distribution protocol: manifests and blobs, from registries and to them.

Source: OCI distribution-spec.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from itertools import chain
from typing import Self

from yarl import URL

from hangar_async.config.registries import RegistrySettings
from hangar_async.errors import UsageError
from hangar_async.oci import Descriptor, Digest, Reference
from hangar_async.registry import blobs
from hangar_async.registry.auth.authorizer import Authorizer, actions_of
from hangar_async.registry.auth.credentials import Credentials
from hangar_async.registry.auth.tokens import TokenServer
from hangar_async.registry.exchange import Endpoints, Exchange
from hangar_async.registry.http.addresses import places_of
from hangar_async.registry.http.transport import Transport
from hangar_async.registry.lists import Lists, ReferrerPage, RepositoryPage, TagPage
from hangar_async.registry.manifests import Manifests, OnQuota, PushedManifest, ServedManifest
from hangar_async.registry.uploads import NoSessions, Upload, UploadSessions
from hangar_async.singleflight import SingleFlight


def _ignore(*details: object) -> None:
    """Ignore the details."""


class RegistryClient:
    """A client that gets and pushes manifests and blobs, over one session.

        async with RegistryClient(RegistrySettings()) as client:
            manifest = await client.get_manifest(Reference.parse("docker.io/library/alpine:3"))

    The session is closed when the block ends. `username_for` is the registry, normalised, that the settings' user name
    and password are for; no other host ever gets them. `named` are registries that may have any address when another
    server sends us there, as those of the calls and of the mirrors may. `connections` must be at least the number of
    requests that run at once. `notice` is called with texts for the user, `quota` with the number of requests that a
    registry still allows. `clock` counts seconds. `sessions` know uploads of earlier runs, and keep those of this one.

    Every call is a single try: only a request whose token has expired is repeated. Every call raises NetworkError
    where a host cannot be reached, or stalls, and RegistryError where it refuses: Unauthorized, NotFound and others.
    """

    def __init__(
        self,
        settings: RegistrySettings,
        *,
        username_for: str | None = None,
        named: Iterable[str] = (),
        connections: int = 20,
        notice: Callable[[str], None] = _ignore,
        quota: OnQuota = _ignore,
        clock: Callable[[], float] = time.monotonic,
        sessions: UploadSessions | None = None,
    ) -> None:
        self._flights = SingleFlight()
        self._mirrors = settings.mirrors
        self._transport = Transport(settings, connections, notice)
        self._transport.named.update(chain(*map(places_of, (*named, *settings.mirrors.registries))))
        #: The credentials that are known, by registry.
        self.credentials = Credentials(settings, username_for, notice, clock)
        self._authorizer = Authorizer(self.credentials, TokenServer(self._transport, clock), self._flights, clock)
        endpoints = Endpoints(settings, self._transport, self._flights, notice)
        #: Sends other requests to the same registries.
        self.exchange = Exchange(self._transport, endpoints, self._authorizer)
        self._manifests = Manifests(self.exchange, quota)
        self._lists = Lists(self.exchange)
        # The largest body that each registry was found to take.
        self._largest: dict[str, int] = {}
        self._sessions = sessions or NoSessions()
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self.credentials.load()
        await self._stack.enter_async_context(self._transport)
        await self._stack.enter_async_context(self._flights)
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    @property
    def moved(self) -> Mapping[str, tuple[int, float]]:
        """The bytes that were moved from or to each host, and the seconds in which a transfer was under way."""
        return self._transport.speeds.moved

    def watch(self, answered: Callable[[str, int], None], quota: OnQuota = _ignore) -> None:
        """Have `answered` called with the host, HOST[:PORT], and the status of each response when it begins.

        From now on `quota` is called in place of that of the constructor.
        """
        self._transport.answered = answered
        self._manifests.on_quota = quota

    def expect(self, images: Iterable[Reference], *, push: bool = False) -> None:
        """Note the images that will be asked for, here or at their mirrors, or pushed: several may share a token."""
        repositories: dict[str, dict[str, None]] = {}
        for image in images:
            # An image of a blocked registry fails when its turn comes.
            with suppress(UsageError):
                for source in (image,) if push else self._mirrors.sources(image):
                    repositories.setdefault(source.registry, {})[source.repository] = None
        for registry, names in repositories.items():
            self._authorizer.expect(registry, names, actions_of(push=push))

    async def ping(self, registry: str) -> bool:
        """Check that a host is a registry, and takes the credentials that are known for it, or none.

        False means that it needs none, and would have taken any. Raises NotFound for a host that is no
        registry, and Unauthorized where the credentials are refused.
        Source: OCI distribution-spec, "Determining Support".
        """
        return await self.exchange.ping(registry)

    async def get_manifest(self, image: Reference, digest: Digest | None = None) -> ServedManifest:
        """Get a manifest or index of an image's repository: the one of `digest`, else the one that `image` names.

        Raises NotFound where it is not there, ContentError for one of more than 4 MiB, and DigestMismatch for bytes
        of another digest.
        Source: OCI distribution-spec, "Pulling manifests".
        """
        return await self._manifests.get(image, digest)

    async def head_manifest(
        self, image: Reference, digest: Digest | None = None, *, push: bool = False, get: bool = True
    ) -> Descriptor | None:
        """Return the descriptor of the manifest with `digest`, else of the manifest that `image` names; None for none.

        It has the type, the digest and the size in bytes. `push` uses the rights that a push needs. If the registry
        does not send all three, the manifest itself is fetched; `get=False` returns None instead: a HEAD counts against
        no quota of Docker Hub. Raises DigestMismatch where the registry sends another digest than `digest`.
        Source: OCI distribution-spec, "Checking if content exists in the registry".
        """
        return await self._manifests.head(image, digest, push=push, get=get)

    async def put_manifest(
        self, image: Reference, raw: bytes, media_type: str, digest: Digest | None = None
    ) -> PushedManifest:
        """Push a manifest or index, byte for byte: under `digest`, else under the image's tag, else under its digest.

        Its blobs and manifests must be there before it; a tag comes last. Raises ContentError for bytes of another
        digest than `digest`, DigestMismatch where the registry has them under another one, and
        Incomplete where the registry lacks something that the manifest names.
        Source: OCI distribution-spec, "Pushing manifests".
        """
        return await self._manifests.put(image, raw, media_type, digest)

    async def delete_tag(self, image: Reference) -> bool:
        """Delete the tag of an image, which names no digest; tell whether the tag is gone: many registries delete none.

        What the tag named stays under its digest, but for registries that delete it too, with its other tags. The tag
        may name another image by now: ask for it right before.
        Source: OCI distribution-spec, "Deleting tags".
        """
        return await self._manifests.delete_tag(image)

    async def list_tags(self, image: Reference, page: URL | None = None) -> TagPage | None:
        """Get a page of the tags of an image's repository: the first one, or the one that another page names.

        Returns None where the repository is not there. Tags that no request can name are left out. Raises ContentError
        for a page of more than 32 MiB, or that is no list of tags.
        Source: OCI distribution-spec, "Listing Tags".
        """
        return await self._lists.tags(image, page)

    async def list_repositories(self, registry: str, page: URL | None = None) -> RepositoryPage:
        """Get a page of the names of a registry's repositories: the first one, or the one that another page names.

        Many registries list them to administrators alone, or not at all: that is an error. Names that no request can
        name are left out. Raises ContentError as `list_tags`.
        Source: Docker's documentation, "HTTP API V2", "Listing Repositories".
        """
        return await self._lists.repositories(registry, page)

    async def list_referrers(
        self, image: Reference, subject: Digest, artifact_type: str = "", page: URL | None = None
    ) -> ReferrerPage | None:
        """Get a page of the referrers of a digest in an image's repository, the first one, or one that another names.

        With `artifact_type` the registry may leave out others. Returns None where the registry lists no referrers.
        Raises ContentError for a page of more than 32 MiB or 10,000 entries, or that is no index.
        Source: OCI distribution-spec, "Listing Referrers".
        """
        return await self._lists.referrers(image, subject, artifact_type, page)

    async def lists_referrers(self, image: Reference, subject: Digest) -> bool:
        """Tell whether the registry of an image lists the manifests that have a subject; with the rights to push.

        Any subject will do; it need not be there.
        Source: OCI distribution-spec, "Listing Referrers".
        """
        return await self._lists.lists_referrers(image, subject)

    async def is_new(self, image: Reference) -> bool:
        """Tell whether the registry knows no repository of this name; one request, with the rights to push.

        Source: OCI distribution-spec, "Listing Tags".
        """
        return await self._lists.is_new(image)

    async def has_blob(self, image: Reference, blob: Descriptor) -> bool:
        """Tell whether the repository of an image has a blob; one request, without a body, with the rights to push.

        Source: OCI distribution-spec, "Checking if content exists in the registry".
        """
        is_there = await blobs.has_blob(self.exchange, image, blob)
        if is_there:
            await self._sessions.forget_session(image, blob, is_there=True)
        return is_there

    def open_blob(
        self, image: Reference, blob: Descriptor, start: int = 0
    ) -> AbstractAsyncContextManager[blobs.BlobBody]:
        """Open a blob of an image's repository, from byte `start` on where the registry can do that, else from 0.

        The body is closed at the end of the block, and never decoded. Raises NotFound where it is not there, and
        DigestMismatch for a body of another size.
        Source: OCI distribution-spec, "Pulling blobs".
        """
        return blobs.open_blob(self.exchange, image, blob, start)

    def open_foreign(self, url: str, blob: Descriptor, start: int = 0) -> AbstractAsyncContextManager[blobs.BlobBody]:
        """Open a blob at one of the addresses that its descriptor names; never with credentials.

        The rest is as for `open_blob`. Raises NetworkError for an address on this machine or its link, unless a
        registry there was used by this client.
        Source: OCI image-spec, "Non-distributable layers".
        """
        return blobs.open_foreign(self.exchange, url, blob, start)

    async def mount_blob(self, image: Reference, blob: Descriptor, source_repository: str) -> Upload | None:
        """Mount a blob of another repository of the same registry in the repository of an image.

        Returns None when it is mounted. Else the upload is returned that must send it: one that the registry has opened
        instead, or a new one where it refused the mount. Raises DigestMismatch where it mounted another blob.
        Source: OCI distribution-spec, "Mounting a blob from another repository".
        """
        upload = self.upload(image, blob)
        return None if await upload.mount(source_repository) else upload

    def upload(self, image: Reference, blob: Descriptor, *, may_be_there: bool = False) -> Upload:
        """Return an upload of a blob to the repository of an image; it begins with the first byte that is sent.

        With `may_be_there` the registry is asked first, by the request that opens it, whether it has the blob.
        Use it as an asynchronous context manager: at the end of the block it is cancelled unless it is complete.
        Source: OCI distribution-spec, "Pushing blobs".
        """
        return Upload(self.exchange, image, blob, self._largest, self._sessions, may_be_there=may_be_there)
