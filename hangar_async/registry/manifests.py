"""Manifests of repositories: get, head and put; tags to delete; and the quota of requests that a registry sends.

Source: OCI distribution-spec, "Pulling manifests", "Pushing manifests" and "Deleting tags".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Self, TypeAlias

import msgspec

from hangar_async.errors import ContentError, DigestMismatch, NotFound, RegistryError
from hangar_async.oci import (
    MAX_DOCUMENT,
    Descriptor,
    Digest,
    Index,
    Manifest,
    Reference,
    decode_json,
    media_types,
    parse_manifest,
)
from hangar_async.registry.exchange import NO_HEAD, Call, Exchange
from hangar_async.registry.failures import LACKS, NOT_THERE
from hangar_async.registry.http.response import Response, read_digest
from hangar_async.threads import in_thread

#: Digits of a size.
_LONGEST_SIZE = 19
#: A longer document is hashed in a thread, in bytes.
_INLINE = 64 << 10
#: The statuses to a HEAD of registries that hide a tag: a policy forbids its image, or one may push and not read.
_HIDDEN = (403, 412)
#: The characters of an address that advice shows.
_LONGEST = 140
_PUT = (200, 201, 202, 204)
_DELETED = (200, 202, 204)
#: The statuses of registries that delete no tags: docker-registry 2 answers 405, or 400 where it deletes manifests.
_DELETES_NO_TAGS = (400, 405, 501)
_QUOTA = re.compile(r"\s*([0-9]{1,12})\s*(?:;\s*w\s*=\s*([0-9]{1,12})\s*)?(?:;.*)?")


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest or index exactly as it was served; `digest` is computed from its bytes."""

    raw: bytes = field(repr=False)
    content_type: str
    digest: Digest


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest in a registry; `subject` is its subject where the registry lists it as a referrer."""

    digest: Digest
    subject: Digest | None


@dataclass(frozen=True, slots=True)
class Quota:
    """The quota of a registry: `remaining` of `limit` requests within `window` seconds (0: not known).

    Source: Docker's documentation, "Docker Hub usage and limits"; the IETF draft "RateLimit header fields for HTTP".
    """

    remaining: int
    limit: int
    window: int

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> Self | None:
        """Read `ratelimit-limit` and `ratelimit-remaining`; None where one is missing or wrong."""
        limit = _QUOTA.fullmatch(headers.get("ratelimit-limit", ""))
        remaining = _QUOTA.fullmatch(headers.get("ratelimit-remaining", ""))
        if limit is None or remaining is None:
            return None
        return cls(int(remaining[1]), int(limit[1]), int(limit[2] or 0))


#: Called with a registry, HOST[:PORT], and the requests that it still allows.
OnQuota: TypeAlias = Callable[[str, Quota], None]


class Manifests:
    """Gets and pushes manifests; the calls are those of RegistryClient."""

    def __init__(self, exchange: Exchange, on_quota: OnQuota) -> None:
        self._exchange = exchange
        #: Called with the quota that an answer tells.
        self.on_quota = on_quota

    async def get(self, image: Reference, digest: Digest | None = None) -> ServedManifest:
        """Get a manifest; see RegistryClient.get_manifest."""
        call = _pull(image, digest)
        digest = digest or image.digest
        async with self._exchange.ask(call) as response:
            self._report_quota(image, response)
            raw = await response.read(call.subject, MAX_DOCUMENT, str(digest or ""))
        name = f"{call.subject} from {response.origin}"
        actual = await _digest_of(raw, digest.algorithm if digest else "sha256")
        if digest and actual != digest:
            raise DigestMismatch(f"{name} has another digest, {actual}", digest=str(digest))
        header = response.digest
        if header not in (None, actual) and header != await _digest_of(raw, header.algorithm):
            raise DigestMismatch(f"{name} does not have the digest {header} of its header", digest=str(header))
        if digest is None and response.headers.get("Content-Encoding") and not raw.lstrip().startswith(b"{"):
            raise ContentError(f"{name} is no JSON", digest=str(actual))
        return ServedManifest(raw, response.headers.get("Content-Type", ""), actual)

    async def head(
        self, image: Reference, digest: Digest | None = None, *, push: bool = False, get: bool = True
    ) -> Descriptor | None:
        """Get the descriptor of a manifest; see RegistryClient.head_manifest."""
        accepted = (200, *NOT_THERE, *NO_HEAD, *(_HIDDEN if push else ()))
        call = _pull(image, digest, method="HEAD", accepted=accepted, push=push)
        async with self._exchange.ask(call) as response:
            self._report_quota(image, response)
            if response.status in NOT_THERE:
                return None
            descriptor = _descriptor(response, digest or image.digest, call.subject)
        if descriptor is not None or not get:
            return descriptor
        try:
            manifest = await self.get(image, digest)
        except NotFound:
            return None
        return Descriptor(media_type_of(manifest.content_type), manifest.digest, len(manifest.raw))

    async def put(self, image: Reference, raw: bytes, media_type: str, digest: Digest | None = None) -> PushedManifest:
        """Push a manifest; see RegistryClient.put_manifest."""
        digest = digest or (None if image.tag else image.digest)
        actual = await _digest_of(raw, digest.algorithm if digest else "sha256")
        subject = f"manifest {f'{image.name}@{digest}' if digest else f'{image.name}:{image.tag}'}"
        if digest and digest != actual:
            raise ContentError(f"{subject} cannot be pushed: its bytes have the digest {actual}", digest=str(digest))
        headers, name = {"Content-Type": media_type}, digest or image.tag
        call = _call(image, name, subject, headers, push=True, method="PUT", body=raw, accepted=_PUT)
        try:
            async with self._exchange.ask(call) as response:
                await response.drain()
                response.require_digest(actual, subject)
                return PushedManifest(actual, read_digest(response.headers.get("OCI-Subject", "")))
        except RegistryError as error:
            raise _explained(error, subject, raw, media_type) from error

    async def delete_tag(self, image: Reference) -> bool:
        """Delete a tag; see RegistryClient.delete_tag."""
        accepted = (*_DELETED, *NOT_THERE, *_DELETES_NO_TAGS)
        call = _call(image, image.tag, f"tag {image}", {}, delete=True, method="DELETE", accepted=accepted)
        async with self._exchange.ask(call) as response:
            await response.drain()
            status = response.status
        if status in NOT_THERE:
            # So answers a registry too that has no such request.
            return await self.head(image) is None
        return status not in _DELETES_NO_TAGS

    def _report_quota(self, image: Reference, response: Response) -> None:
        if (quota := Quota.parse(response.headers)) is not None:
            self.on_quota(image.registry, quota)


def _pull(image: Reference, digest: Digest | None, **more: Any) -> Call:
    subject = f"manifest {f'{image.name}@{digest}' if digest else image}"
    return _call(image, digest or image.digest or image.tag, subject, {"Accept": media_types.ACCEPT}, **more)


def _call(image: Reference, name: object, subject: str, headers: Mapping[str, str], **more: Any) -> Call:
    registry, repository, path = image.registry, image.repository, f"manifests/{name}"
    return Call(subject=subject, registry=registry, repository=repository, path=path, headers=headers, **more)


def _descriptor(response: Response, digest: Digest | None, subject: str) -> Descriptor | None:
    """Read the headers of a manifest; None where they are not complete. Raises DigestMismatch."""
    actual = response.digest
    length = response.headers.get("Content-Length", "")
    if response.status != 200 or actual is None:
        return None
    if not (length.isascii() and length.isdigit() and len(length) <= _LONGEST_SIZE):
        return None
    if digest and actual.algorithm == digest.algorithm and actual != digest:
        raise DigestMismatch(f"{subject} from {response.host} has another digest, {actual}", digest=str(digest))
    return Descriptor(media_type_of(response.headers.get("Content-Type", "")), actual, int(length))


class _ArtifactJson(msgspec.Struct):
    artifactType: Any = ""  # noqa: N815 - the specification's name


def _explained(error: RegistryError, subject: str, raw: bytes, media_type: str) -> RegistryError:
    """Name the cause of a refused push where it is in the manifest; the error itself where it is not."""
    try:
        document = parse_manifest(raw, media_type)
    except ContentError:
        return error
    foreign = [layer for layer in document.blobs if layer.urls]
    if error.code == "UNSUPPORTED":
        because, advice = f"it takes no {_kind_of(document)}", "push it to a registry that takes them"
    # Source: distribution, manifest handlers: an address that is not allowed is an unknown error, and a missing blob.
    elif foreign and error.said.startswith("UNKNOWN") and LACKS in error.said:
        because, advice = f"it allows no layers that stay elsewhere, as {foreign[0].digest} does", _allow(foreign[0])
    else:
        return error
    return _lasting(error, f"{error.host} does not take {subject}: {because}: {error.said}", advice)


def _allow(layer: Descriptor) -> str:
    return (
        f"allow {layer.urls[0][:_LONGEST]!r} in its configuration (validation.manifests.urls.allow of registry 2 and "
        "3), or use one that takes them"
    )


def _lasting(error: RegistryError, text: str, advice: str) -> RegistryError:
    """Make an error of another text: whatever its status is, the next answer would be the same."""
    lasting = RegistryError(text, host=error.host, status=error.status, code=error.code, advice=advice, said=error.said)
    lasting.tries = 1
    return lasting


def _kind_of(document: Manifest | Index) -> str:
    if isinstance(document, Index) or document.is_image:
        return f"manifests of the type {document.media_type}"
    kind = decode_json(document.raw, _ArtifactJson).artifactType or document.config.media_type
    return f"artifacts of the type {str(kind)[:_LONGEST]!r}"


def media_type_of(content_type: str) -> str:
    """Return the media type of a Content-Type, without its parameters."""
    return content_type.partition(";")[0].strip()


async def _digest_of(raw: bytes, algorithm: str) -> Digest:
    return Digest.of(raw, algorithm) if len(raw) <= _INLINE else await in_thread(Digest.of, raw, algorithm)
