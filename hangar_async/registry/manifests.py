"""What a registry says is left of the requests that it allows.

Source: Docker's documentation, "Docker Hub usage and limits"; the IETF draft "RateLimit header fields for HTTP".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from hangar_async.errors import DigestMismatch, InvalidValue
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.authorizer import Scope, push_scope
from hangar_async.registry.exchange import _NO_HEAD, Call, Exchange
from hangar_async.registry.failures import push_refused, refused
from hangar_async.registry.http.response import read_digest
from hangar_async.threads import in_thread

_LONGEST_SIZE = 19


async def head_manifest(
    exchange: Exchange, image: Reference, asked: Digest | None, heard: Heard, *, pushing: bool = False
) -> Descriptor | None:
    """Ask for the descriptor of a manifest; None where it is not there. Raises InvalidValue where it is not told.

    `heard` is told of a quota. `pushing` asks with the rights that a push needs.
    """
    call = Call(
        what=f"manifest {f'{image.name}@{asked}' if asked else image}",
        scope=push_scope(image) if pushing else Scope(image.repository),
        path=f"{image.repository}/manifests/{asked or image.tag}",
        method="HEAD",
        headers={"Accept": media_types.ACCEPT},
        accepted=(200, 404, *_NO_HEAD),
        refuse=push_refused if pushing else refused,
    )
    async with exchange.ask(image.registry, call) as answer:
        if (quota := Quota.parse(answer.headers)) is not None:
            heard(image.registry, quota)
        if answer.status == 404:
            return None
        digest = read_digest(answer.headers.get("Docker-Content-Digest", ""))
        length = answer.headers.get("Content-Length", "")
        if answer.status != 200 or digest is None or not _is_number(length):
            raise InvalidValue(f"{answer.host} says too little about {call.what}")
        if asked and digest.algorithm == asked.algorithm and digest != asked:
            raise DigestMismatch(f"{call.what} from {answer.host} has another digest, {digest}", digest=str(asked))
        media_type = answer.headers.get("Content-Type", "").partition(";")[0].strip()
        return Descriptor(media_type, digest, int(length))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_SIZE


_INLINE = 64 << 10


@dataclass(frozen=True, slots=True)
class ServedManifest:
    """A manifest or index exactly as it was served; `digest` is computed from its bytes."""

    raw: bytes = field(repr=False)
    content_type: str
    digest: Digest


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


_PUT = (200, 201, 202, 204)


@dataclass(frozen=True, slots=True)
class PushedManifest:
    """A manifest that a registry has taken; `subject` is what it says that it now lists this one as a referrer of."""

    digest: Digest
    subject: Digest | None


_FIELD = re.compile(r"\s*([0-9]{1,12})\s*(?:;\s*w\s*=\s*([0-9]{1,12})\s*)?(?:;.*)?")


@dataclass(frozen=True, slots=True)
class Quota:
    """`remaining` of `limit` requests are left within a window of so many seconds (0: it is not said)."""

    remaining: int
    limit: int
    window: int

    @classmethod
    def parse(cls, headers: Mapping[str, str]) -> Quota | None:
        """Read `ratelimit-limit` and `ratelimit-remaining`; None where either is not there, or nonsense."""
        limit = _FIELD.fullmatch(headers.get("ratelimit-limit", ""))
        remaining = _FIELD.fullmatch(headers.get("ratelimit-remaining", ""))
        if limit is None or remaining is None:
            return None
        return cls(int(remaining[1]), int(limit[1]), int(limit[2] or 0))


#: Is told of a registry, HOST[:PORT], and what it says is left.
Heard: TypeAlias = Callable[[str, Quota], None]
