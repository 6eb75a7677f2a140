"""Tags of repositories, all pages of them, and the times at which images were created."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime

from hangar_async.engine.copy.documents import RegistryDocuments
from hangar_async.engine.limits.client import LimitedClient
from hangar_async.engine.limits.queue import Rank, Ticket
from hangar_async.errors import ContentError
from hangar_async.oci import MAX_DEPTH, Descriptor, Index, Manifest, Reference

#: The most tags of a repository.
_MOST_TAGS = 1_000_000
#: Builds that can be repeated give all images of a program one time, of these years at most.
_NO_TIME = 1981


async def all_tags(client: LimitedClient, image: Reference, rank: Rank) -> list[str] | None:
    """List the tags of an image's repository; None where it is not there. Raises HangarError."""
    tags: list[str] = []
    async with aclosing(tag_pages(client, image, rank)) as pages:
        async for page in pages:
            if page is None:
                return None
            tags += page
    return tags


async def tag_pages(client: LimitedClient, image: Reference, rank: Rank) -> AsyncGenerator[Sequence[str] | None, None]:
    """List the tags of an image's repository, a page at a time; None alone where it is not there.

    Raises HangarError.
    """
    count, pages, page = 0, 0, None
    while pages == 0 or page is not None:
        found = await client.list_tags(image, Ticket(rank, ahead=True), page)
        if found is None:
            yield None
            return
        pages, page, count = pages + 1, found.next, count + len(found.tags)
        # Pages may be empty.
        if count + pages > _MOST_TAGS:
            raise ContentError(f"the tags of {image.name} are more than {_MOST_TAGS:,}")
        yield found.tags


async def created(
    documents: RegistryDocuments, image: Reference, rank: Rank, expected: Descriptor | None = None
) -> datetime | None:
    """Return the time at which an image was created, that of its first platform; None where it does not tell.

    `expected` is the root that its registry has just told. Raises HangarError.
    """
    document = await documents.root(image, rank, expected)
    for _ in range(MAX_DEPTH):
        if not isinstance(document, Index) or not document.manifests:
            break
        document = await documents.document(document.manifests[0], image, rank)
    if not isinstance(document, Manifest) or not document.is_image:
        return None
    config = await documents.config(document.config, image, rank)
    try:
        time = datetime.fromisoformat(config.created)
    except ValueError:
        return None
    if time.year <= _NO_TIME:
        return None
    return time if time.tzinfo else time.replace(tzinfo=UTC)
