"""Lists of repositories: their tags, and the referrers of their manifests, page by page.

Source: OCI distribution-spec 1.1, "Listing Tags" and "Listing Referrers".
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import msgspec
from yarl import URL

from hangar_async.errors import ContentError
from hangar_async.oci import (
    Descriptor,
    Digest,
    Index,
    Reference,
    decode_json,
    is_repository,
    media_types,
    parse_manifest,
)
from hangar_async.registry.exchange import Call, Exchange
from hangar_async.registry.failures import NOT_THERE
from hangar_async.registry.http.response import Response
from hangar_async.registry.manifests import media_type_of

#: The tags that a registry is asked for at once, and the bytes of a page beyond which it is refused: some ignore the
#: number, and list all tags.
PAGE_TAGS = 1000
MAX_PAGE = 32 << 20
#: The statuses of registries that do not know referrers.
_NO_REFERRERS = (400, 404, 405, 406, 501)
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)


@dataclass(frozen=True, slots=True)
class TagPage:
    """A page of the tags of a repository; `next` is the address of the next one, None after the last."""

    tags: tuple[str, ...]
    next: URL | None = None


@dataclass(frozen=True, slots=True)
class RepositoryPage:
    """A page of the names of the repositories of a registry; `next` as in a TagPage."""

    names: tuple[str, ...]
    next: URL | None = None


@dataclass(frozen=True, slots=True)
class ReferrerPage:
    """A page of the descriptors of referrers; `next` as in a TagPage."""

    referrers: tuple[Descriptor, ...]
    next: URL | None = None


class _TagsJson(msgspec.Struct):
    names: list[str] | None = msgspec.field(name="tags", default=None)


class _CatalogJson(msgspec.Struct):
    names: list[str] | None = msgspec.field(name="repositories", default=None)


class Lists:
    """Asks for lists; the calls are those of RegistryClient."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    async def tags(self, image: Reference, page: URL | None = None) -> TagPage | None:
        """Get a page of tags; see RegistryClient.list_tags."""
        subject = f"the tags of {image.name}"
        call = _call(image, f"tags/list?n={PAGE_TAGS}", subject, page, accepted=(200, *NOT_THERE))
        async with self._exchange.ask(call) as response:
            if response.status in NOT_THERE:
                return None
            return TagPage(*await _names(response, subject, parse_tags))

    async def repositories(self, registry: str, page: URL | None = None) -> RepositoryPage:
        """Get a page of the names of repositories; see RegistryClient.list_repositories."""
        subject = f"the repositories of {registry}"
        path = f"_catalog?n={PAGE_TAGS}"
        call = Call(subject=subject, registry=registry, path=path, url=page or URL(), catalog=True)
        async with self._exchange.ask(call) as response:
            return RepositoryPage(*await _names(response, subject, parse_repositories))

    async def referrers(
        self, image: Reference, subject: Digest, artifact_type: str = "", page: URL | None = None
    ) -> ReferrerPage | None:
        """Get a page of referrers; see RegistryClient.list_referrers."""
        name = f"the referrers of {subject} of {image.name}"
        query = str(URL().with_query(artifactType=artifact_type)) if artifact_type else ""
        call = _call(image, f"referrers/{subject}{query}", name, page, _INDEX, accepted=(200, *_NO_REFERRERS))
        async with self._exchange.ask(call) as response:
            if not _lists_referrers(response):
                await response.drain()
                return None
            index = parse_manifest(await response.read(name, MAX_PAGE), media_types.OCI_INDEX, limit=MAX_PAGE)
            if not isinstance(index, Index):
                raise ContentError(f"{name} from {response.origin} are no index")
            return ReferrerPage(index.manifests, _next_page(response))

    async def lists_referrers(self, image: Reference, subject: Digest) -> bool:
        """Tell whether the registry lists referrers; see RegistryClient.lists_referrers."""
        name = f"the referrers of {subject} of {image.name}"
        call = _call(image, f"referrers/{subject}", name, None, push=True, accepted=(200, *_NO_REFERRERS))
        async with self._exchange.ask(call) as response:
            await response.drain()
            return _lists_referrers(response)

    async def is_new(self, image: Reference) -> bool:
        """Tell whether the registry knows no repository of this name; see RegistryClient.is_new."""
        call = _call(image, "tags/list?n=1", f"the tags of {image.name}", None, push=True, accepted=(200, *NOT_THERE))
        async with self._exchange.ask(call) as response:
            await response.drain()
            return response.status in NOT_THERE


_INDEX = {"Accept": media_types.OCI_INDEX}
_NO_HEADERS: Mapping[str, str] = {}


def _call(
    image: Reference,
    path: str,
    subject: str,
    page: URL | None,
    headers: Mapping[str, str] = _NO_HEADERS,
    *,
    push: bool = False,
    accepted: tuple[int, ...],
) -> Call:
    return Call(
        subject=subject,
        registry=image.registry,
        repository=image.repository,
        path=path,
        url=page or URL(),
        headers=headers,
        push=push,
        accepted=accepted,
    )


def parse_tags(raw: bytes, subject: str) -> tuple[int, tuple[str, ...]]:
    """Return how many tags a page lists, and those that a request can name; raises ContentError."""
    return _parse(raw, subject, _TagsJson, _TAG.fullmatch)


def parse_repositories(raw: bytes, subject: str) -> tuple[int, tuple[str, ...]]:
    """Return how many repositories a page lists, and those that a request can name; raises ContentError."""
    return _parse(raw, subject, _CatalogJson, is_repository)


def _parse(
    raw: bytes, subject: str, form: type[_TagsJson | _CatalogJson], is_name: Callable[[str], object]
) -> tuple[int, tuple[str, ...]]:
    try:
        listed = decode_json(raw, form).names or []
    except ValueError as error:
        raise ContentError(f"{subject} are not what they should be: {error}") from error
    return len(listed), tuple(name for name in listed if is_name(name))


async def _names(
    response: Response, subject: str, parse: Callable[[bytes, str], tuple[int, tuple[str, ...]]]
) -> tuple[tuple[str, ...], URL | None]:
    """Read the names of a page that a request can name, and the address of the next page."""
    raw = await response.read(subject, MAX_PAGE)
    count, names = parse(raw, f"{subject} from {response.origin}")
    last = response.url.query.get("last")
    if last is not None and last in names:
        if names[0] != last or len(names) == 1:
            # It lists all of them, whatever it is asked for.
            return (), None
        # Its pages begin with the last name of the one before.
        names = names[1:]
    following = _next_page(response)
    if following is None and count == PAGE_TAGS and names:
        # Some registries do not name the next page.
        following = response.url.update_query(n=PAGE_TAGS, last=names[-1])
    return names, following


def _lists_referrers(response: Response) -> bool:
    content_type = media_type_of(response.headers.get("Content-Type", ""))
    return response.status == 200 and content_type == media_types.OCI_INDEX


def _next_page(response: Response) -> URL | None:
    """Return the address of the next page, at the origin of this one: behind a proxy a registry may name another.

    Source: RFC 8288, "Link".
    """
    try:
        link = response.raw.links.get("next")
        address = None if link is None else link.get("url")
        if not isinstance(address, URL):
            return None
        following = response.url.origin().join(URL(address.raw_path_qs, encoded=True))
    except ValueError:
        return None
    return None if following == response.url else following
