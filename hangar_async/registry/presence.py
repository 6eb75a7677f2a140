"""What a registry has already: asked without fetching it, and what it says of what was pushed.

Source: OCI distribution-spec, "Checking if content exists in the registry", "Pushing manifests".
"""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import unquote

from hangar_async.errors import DigestMismatch, InvalidValue, RegistryError
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.reference import Reference
from hangar_async.registry.answer import Answer
from hangar_async.registry.auth import Scope
from hangar_async.registry.exchange import Call, Exchange
from hangar_async.registry.failures import refused
from hangar_async.registry.push_failures import push_refused
from hangar_async.registry.quota import Heard, Quota

#: Answers of what does not know the method.
_NO_HEAD = (405, 501)
#: What storage that a registry sent us to may say to a HEAD, although its address is right for a GET.
_ONLY_GET = frozenset({400, 401, 403})
_LONGEST_SIZE = 19


def push_scope(image: Reference, mounted: str = "") -> Scope:
    """The scope that is needed to push to an image's repository, and to mount from another one."""
    return Scope(image.repository, "pull,push", mounted)


async def has_blob(exchange: Exchange, image: Reference, blob: Descriptor) -> bool:
    """Whether an image's repository has a blob, as far as the registry can tell; see RegistryPusher.has_blob."""
    call = Call(
        what=f"blob {blob.digest} of {image.name}",
        scope=push_scope(image),
        path=f"{image.repository}/blobs/{blob.digest}",
        method="HEAD",
        accepted=(200, 404, *_NO_HEAD),
        refuse=push_refused,
    )
    try:
        async with exchange.ask(image.registry, call) as answer:
            return answer.status == 200
    except RegistryError as error:
        if error.redirected and error.status in _ONLY_GET:
            return False
        raise


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


def read_digest(text: str) -> Digest | None:
    """Read a digest out of a header; None where there is none that can be read."""
    with suppress(InvalidValue):
        return Digest.parse(text.strip())
    return None


def check_told(answer: Answer, digest: Digest, what: str) -> None:
    """Raise DigestMismatch where an answer gives what was pushed another digest of the same algorithm.

    It may be told in Docker-Content-Digest, and at the end of the Location.
    """
    place = unquote(answer.headers.get("Location", "").partition("?")[0])
    named = (read_digest(answer.headers.get("Docker-Content-Digest", "")), read_digest(place.rpartition("/")[2]))
    for one in named:
        if one is not None and one.algorithm == digest.algorithm and one != digest:
            raise DigestMismatch(f"{answer.host} has {what} under another digest, {one}", digest=str(digest))


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= _LONGEST_SIZE
