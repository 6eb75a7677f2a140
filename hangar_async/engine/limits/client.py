"""The registry client of a run: its requests wait for permits, and failures are repeated while that can help."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import TypeAlias, TypeVar

from yarl import URL

from hangar_async.config.jobs import JobLimits
from hangar_async.config.registries import RetryPolicy
from hangar_async.engine.events import Observer, QuotaReported, Retrying
from hangar_async.engine.limits.hosts import Asked, Clock, Hosts, backoff, is_quota, is_unconnected
from hangar_async.engine.limits.queue import Rank, RequestQueue, Ticket
from hangar_async.engine.limits.quota import Quotas
from hangar_async.engine.limits.usage import Usage
from hangar_async.errors import DigestMismatch, HangarError, Incomplete, RegistryError, StorageError
from hangar_async.oci import Descriptor, Digest, Document, Reference, parse_manifest
from hangar_async.registry.blobs import BlobBody, host_of
from hangar_async.registry.client import RegistryClient
from hangar_async.registry.lists import ReferrerPage, RepositoryPage, TagPage
from hangar_async.registry.manifests import PushedManifest
from hangar_async.registry.uploads import Upload

_log = logging.getLogger(__name__)
_T = TypeVar("_T")
#: Returns the document of a descriptor where it is known already.
FindDocument: TypeAlias = Callable[[Descriptor], Awaitable[Document | None]]
#: Opens a blob at a byte.
OpenBlob: TypeAlias = Callable[[int], AbstractAsyncContextManager[BlobBody]]
#: The statuses of a registry that tells neither whether a tag is there nor what it names.
UNTOLD = frozenset({403, 405, 412})
#: The kinds of requests.
_DOCUMENTS, _BLOBS, _UPLOADS = "documents", "blobs", "uploads"


class Retrier:
    """Runs the requests of all jobs: as many at once as the limits allow, fewer at a host that is overloaded.

    A request that failed and may succeed is repeated, `policy.retries` times in a row at most, without a permit during
    the wait. Neither a wait for a quota, nor for a host that cannot be reached, nor a try that gained bytes counts as
    one of these.

    A failure counts for the host that it is of, which may be another one than was asked: a storage or a token server.
    Further requests of that kind need a place at both hosts.
    """

    def __init__(self, limits: JobLimits, policy: RetryPolicy, observe: Observer, clock: Clock | None = None) -> None:
        self._policy = policy
        self._observe = observe
        self._clock = clock or Clock()
        #: The hosts that are asked, and the queue for them.
        self.hosts = Hosts(RequestQueue(limits), policy, observe, self._clock)
        #: The part of each image in the requests.
        self.usage = Usage(meters=self.hosts.meters)
        #: The manifests that the hosts let us get.
        self.quotas = Quotas(policy.kept, observe, self._clock)

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a ticket go earlier, also while it waits."""
        self.hosts.queue.raise_rank(ticket, rank)

    async def run(
        self,
        subject: str,
        host_name: str,
        ticket: Ticket,
        request: Callable[[], Awaitable[_T]],
        *,
        kind: str = "",
        source_host: str = "",
        alternatives: bool = False,
    ) -> _T:
        """Make a request of a host, and repeat it while that can help; return its result.

        `subject` names the request in events; requests of one `kind` lead to the same other hosts. One whose bytes come
        from `source_host` needs a place there too. With `alternatives`, as for a mirror, nothing is waited for, and a
        host that could not be reached is passed over for a while. Raises the last HangarError: RateLimited where a host
        asks for a longer wait than is allowed.
        """
        failures, asked = 0, Asked(host_name, kind, source_host)
        while True:
            async with self.hosts.hold(asked, ticket, wait=not alternatives) as number:
                try:
                    result = await self.usage.during(ticket.rank, request)
                except HangarError as error:
                    failure = error
                else:
                    self.hosts.answered(asked, number)
                    return result
                if alternatives and failure.uses_try:
                    self.hosts.charged(asked, failure).skip(failure)
                    raise failure
                self.hosts.failed(asked, failure, number)
            failures = await self._after(failure, subject, asked, failures)

    async def _after(self, failure: HangarError, subject: str, asked: Asked, failures: int) -> int:
        """Wait after a failure and return how many tries are used up, or raise the failure."""
        if not failure.transient:
            raise failure
        is_away = self.hosts.charged(asked, failure).is_away
        if is_quota(failure) or (is_away and self._policy.retries and is_unconnected(failure)):
            return failures
        failures = failures + 1 if failure.uses_try else 0
        if failures > min(self._policy.retries, failure.tries - 1):
            raise failure
        if is_away:
            return failures
        self.hosts.meters.repeats += not isinstance(failure, RegistryError | DigestMismatch)
        wait = backoff(self._policy, max(failures, 1))
        _log.debug("%s waits %.1f s, after: %s", subject, wait, failure)
        self._observe(Retrying(subject, str(failure), wait, failures))
        await self._clock.sleep(wait)
        return failures


class LimitedClient:
    """Asks registries as a `RegistryClient` does: each request under a permit of its host, repeated by the retrier.

    All methods raise HangarErrors: the last failure. `alternatives` says that another host is asked next: see
    `Retrier.run`.
    """

    def __init__(self, client: RegistryClient, retrier: Retrier, images: int = 1) -> None:
        self._client = client
        self._retrier = retrier
        retrier.hosts.queue.images_left = images
        client.watch(retrier.hosts.reached, retrier.quotas.reported)

    @property
    def usage(self) -> Usage:
        """The part of each image in the requests."""
        return self._retrier.usage

    def raise_rank(self, ticket: Ticket, rank: Rank) -> None:
        """Let a ticket go earlier, also while it waits."""
        self._retrier.raise_rank(ticket, rank)

    def pass_over(self, mirror: str, error: HangarError) -> None:
        """Note the failure of a mirror in place of which another host is asked."""
        self._retrier.hosts.host(mirror).skip(error)

    def passes_over(self, mirror: str) -> bool:
        """Tell whether a mirror is not asked now, since it has failed or takes no requests."""
        return not self._retrier.hosts.host(mirror).takes_now

    @property
    def quotas(self) -> tuple[QuotaReported, ...]:
        """The last quota that each host has told."""
        return self._retrier.quotas.last

    def image_ended(self) -> None:
        """Note that an image is done; the requests that are left share the permits."""
        self._retrier.hosts.queue.image_ended()

    async def ping(self, registry: str) -> None:
        """Check that a registry answers, and takes the credentials that are known for it."""
        await self.call(f"the API of {registry}", registry, partial(self._client.ping, registry))

    async def call(self, subject: str, registry: str, request: Callable[[], Awaitable[_T]]) -> _T:
        """Make a request of another API of the registry, before all others."""
        return await self._retrier.run(subject, registry, Ticket((0,)), request)

    async def get_document(
        self,
        image: Reference,
        ticket: Ticket,
        entry: Descriptor | None = None,
        *,
        find: FindDocument | None = None,
        alternatives: bool = False,
    ) -> tuple[Document, bool]:
        """Get the manifest or index of an entry, else of the image; return it, and whether its bytes were fetched.

        Digest and size are checked. With `find`, a HEAD asks first which document that is, and its bytes are asked for
        where `find` does not return it.
        """
        next_find = find

        async def request() -> tuple[Document, bool]:
            nonlocal next_find
            # One HEAD, whatever its answer: a registry that refuses it may answer a GET all the same.
            find_now, next_find = next_find, None
            if find_now is not None and (document := await self._find(image, find_now)) is not None:
                return document, False
            digest = entry.digest if entry else None
            head = partial(self._client.head_manifest, image, digest, get=False)
            async with self._retrier.quotas.of(image.registry).pull(head):
                served = await self._client.get_manifest(image, digest)
            if entry is not None and len(served.raw) != entry.size:
                message = f"manifest {entry.digest} has {len(served.raw)} bytes, but its index says {entry.size}"
                raise DigestMismatch(message, digest=str(entry.digest))
            return parse_manifest(served.raw, served.content_type, served.digest.algorithm), True

        subject = f"manifest {entry.digest.short} of {image}" if entry else f"the manifest of {image}"
        return await self._retrier.run(
            subject, image.registry, ticket, request, kind=_DOCUMENTS, alternatives=alternatives
        )

    async def _find(self, image: Reference, find: FindDocument) -> Document | None:
        try:
            descriptor = await self._client.head_manifest(image, get=False)
        except RegistryError as error:
            if is_quota(error):
                # On a rate limit, do not follow the HEAD with a GET.
                raise
            return None
        return None if descriptor is None else await find(descriptor)

    async def head_manifest(
        self, image: Reference, digest: Digest | None, ticket: Ticket, *, push: bool = False, alternatives: bool = False
    ) -> Descriptor | None:
        """Ask for the descriptor of a digest, or of the image's tag; None when the registry has none."""
        request = partial(self._client.head_manifest, image, digest, push=push)
        return await self._retrier.run(
            _manifest(image, digest), image.registry, ticket, request, kind=_DOCUMENTS, alternatives=alternatives
        )

    async def find_manifest(self, image: Reference, digest: Digest | None, ticket: Ticket) -> Descriptor | None:
        """Ask for a descriptor as `head_manifest` does before a push; None also where the registry does not tell.

        The push decides then: a policy may forbid to read the image, or the login to read at all.
        """
        try:
            return await self.head_manifest(image, digest, ticket, push=True)
        except RegistryError as error:
            if error.status not in UNTOLD:
                raise
            return None

    async def put_manifest(
        self, image: Reference, document: Document, digest: Digest | None, ticket: Ticket, *, once: bool = False
    ) -> PushedManifest:
        """Push a manifest or index, byte for byte, under its digest, or under the image's tag.

        With `once` a registry that lacks what the document names is not asked again.
        """

        async def request() -> PushedManifest:
            try:
                return await self._client.put_manifest(image, document.raw, document.media_type, digest)
            except Incomplete as error:
                error.tries = 1 if once else error.tries
                raise

        return await self._retrier.run(_manifest(image, digest), image.registry, ticket, request, kind=_DOCUMENTS)

    async def lists_referrers(self, image: Reference, subject: Digest, ticket: Ticket) -> bool:
        """Ask whether the registry of an image lists the manifests that have a subject."""
        request = partial(self._client.lists_referrers, image, subject)
        name = f"the referrers of {subject.short}"
        return await self._retrier.run(name, image.registry, ticket, request, kind=_DOCUMENTS)

    async def list_tags(
        self, image: Reference, ticket: Ticket, page: URL | None = None, *, alternatives: bool = False
    ) -> TagPage | None:
        """Ask for a page of the tags of an image's repository; None where it is not there."""
        request = partial(self._client.list_tags, image, page)
        subject = f"the tags of {image.name}"
        return await self._retrier.run(
            subject, image.registry, ticket, request, kind=_DOCUMENTS, alternatives=alternatives
        )

    async def list_repositories(self, registry: str, ticket: Ticket, page: URL | None = None) -> RepositoryPage:
        """Ask for a page of the names of a registry's repositories."""
        request = partial(self._client.list_repositories, registry, page)
        return await self._retrier.run(f"the repositories of {registry}", registry, ticket, request, kind=_DOCUMENTS)

    async def list_referrers(
        self,
        image: Reference,
        subject: Digest,
        ticket: Ticket,
        *,
        artifact_type: str = "",
        page: URL | None = None,
        alternatives: bool = False,
    ) -> ReferrerPage | None:
        """Ask for a page of the referrers of a digest; None where the registry lists none."""
        request = partial(self._client.list_referrers, image, subject, artifact_type, page)
        name = f"the referrers of {subject.short}"
        return await self._retrier.run(
            name, image.registry, ticket, request, kind=_DOCUMENTS, alternatives=alternatives
        )

    async def is_new(self, image: Reference, ticket: Ticket) -> bool:
        """Ask whether the registry knows no repository of this name."""
        request = partial(self._client.is_new, image)
        subject = f"the tags of {image.name}"
        return await self._retrier.run(subject, image.registry, ticket, request, kind=_DOCUMENTS)

    async def has_blob(self, image: Reference, blob: Descriptor, ticket: Ticket) -> bool:
        """Ask whether the repository of an image has a blob."""
        request = partial(self._client.has_blob, image, blob)
        subject = f"blob {blob.digest.short} of {image.name}"
        return await self._retrier.run(subject, image.registry, ticket, request, kind=_BLOBS)

    async def mount(self, image: Reference, blob: Descriptor, source_repository: str, ticket: Ticket) -> Upload | None:
        """Mount a blob of another repository into the repository of an image; return an upload where it is refused."""
        request = partial(self._client.mount_blob, image, blob, source_repository)
        subject = f"blob {blob.digest.short} from {source_repository} to {image.name}"
        return await self._retrier.run(subject, image.registry, ticket, request, kind=_UPLOADS)

    def upload(self, image: Reference, blob: Descriptor, *, may_be_there: bool = False) -> Upload:
        """Return an upload of a blob to the repository of an image; it begins when something is sent."""
        return self._client.upload(image, blob, may_be_there=may_be_there)

    async def send(
        self, upload: Upload, ticket: Ticket, send: Callable[[], Awaitable[None]], source_host: str = ""
    ) -> None:
        """Call `send`, which sends the upload once, until it is complete; its bytes come from `source_host`, if any."""
        subject = f"blob {upload.blob.digest.short} to {upload.image.name}"
        await self._retrier.run(subject, upload.image.registry, ticket, send, kind=_UPLOADS, source_host=source_host)

    async def receive(
        self,
        image: Reference,
        blob: Descriptor,
        ticket: Ticket,
        receive: Callable[[OpenBlob], Awaitable[None]],
        *,
        alternatives: bool = False,
    ) -> None:
        """Call `receive`, which opens a blob and reads it once, until it has all of it.

        The repository of the image is asked, and then the URLs of a foreign layer.
        """
        sources: list[tuple[str, OpenBlob]] = [(image.registry, partial(self._client.open_blob, image, blob))]
        if blob.is_foreign:
            sources += [(host_of(url), partial(self._client.open_foreign, url, blob)) for url in blob.urls]
        subject = f"blob {blob.digest.short} of {image}"
        for number, (host, open_blob) in enumerate(sources, 1):
            try:
                request = partial(receive, open_blob)
                await self._retrier.run(subject, host, ticket, request, kind=_BLOBS, alternatives=alternatives)
            except StorageError:
                raise
            except HangarError:
                if number == len(sources):
                    raise
            else:
                return


def _manifest(image: Reference, digest: Digest | None) -> str:
    return f"manifest {digest.short if digest else image.tag} of {image.name}"
