"""What is held, as the content of a registry."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing

from hangar_async.engine.held_blobs import HeldBlobs
from hangar_async.engine.readers import SMALL
from hangar_async.engine.repositories import Repository, Shelf
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.referrers import Referrer


class HeldContent:
    """Repositories of held images, all of them, or those of one registry; implements the server's `Content`."""

    def __init__(self, shelf: Shelf, blobs: HeldBlobs, repositories: Mapping[str, Repository] | None = None) -> None:
        self._shelf = shelf
        self._blobs = blobs
        self._repositories = shelf.repositories if repositories is None else repositories

    def of_registry(self, registry: str) -> HeldContent | None:
        """What is held of one registry, under the names that it has there; None where that is nothing."""
        found = self._shelf.of_registry(registry)
        return None if found is None else HeldContent(self._shelf, self._blobs, found)

    async def repositories(self) -> Sequence[str]:
        """Name the repositories, sorted, but for names that can only be asked for: those with a port in them."""
        return sorted(name for name in self._repositories if ":" not in name)

    async def tags(self, repository: str) -> Sequence[str] | None:
        """Name the tags of a repository, sorted; None where there is no such repository."""
        place = self._repositories.get(repository)
        return None if place is None else sorted(place.tags)

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor | None:
        """Find a manifest or index of a repository by its tag or digest."""
        place = self._repositories.get(repository)
        if place is None:
            return None
        digest = reference if isinstance(reference, Digest) else place.tags.get(reference)
        return None if digest is None else place.documents.get(digest)

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Tell the size in bytes of a blob of a repository; None where it has no such blob."""
        place = self._repositories.get(repository)
        return None if place is None else place.blobs.get(digest)

    async def referrers(self, repository: str, digest: Digest) -> Sequence[Referrer]:
        """List what in a repository refers to a manifest."""
        place = self._repositories.get(repository)
        return [] if place is None else list(place.referrers.get(digest, {}).values())

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Read the bytes from `start` up to `stop` of what was found; see `HeldBlobs.read`.

        Of a manifest or an index nothing is sent before all of it is checked.
        """
        made = self._shelf.made.get(digest)
        if made is not None:
            yield memoryview(made)[start:stop]
            return
        # One piece is checked before it is handed on.
        first = digest in self._shelf.documents and (start > 0 or stop > SMALL)
        async with aclosing(self._blobs.read(digest, start, stop, checked=first)) as pieces:
            async for piece in pieces:
                yield piece
