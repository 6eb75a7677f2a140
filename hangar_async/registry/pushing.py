"""The pushing side of the distribution protocol.

Source: OCI distribution-spec, "Push".
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from hangar_async.errors import ContentError, Incomplete, NotFound, RegistryError
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry import presence
from hangar_async.registry.auth import Scope
from hangar_async.registry.client import RegistryClient, digest_of
from hangar_async.registry.exchange import Call
from hangar_async.registry.presence import check_told, push_scope
from hangar_async.registry.push_failures import push_refused
from hangar_async.registry.uploads import Upload

_PUT = (200, 201, 202, 204)


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest that a registry has taken; `subject` is what it says that it now lists this one as a referrer of."""

    digest: Digest
    subject: Digest | None


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
        return await presence.has_blob(self._exchange, image, blob)

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
            return PushedManifest(actual, presence.read_digest(answer.headers.get("OCI-Subject", "")))


def _no_registry(registry: str, status: int) -> NotFound:
    return NotFound(
        f"{registry} is no registry: it does not speak the protocol at /v2/",
        host=registry,
        status=status,
        advice="check name and port: a registry is HOST or HOST:PORT, what follows belongs to the images in it",
    )
