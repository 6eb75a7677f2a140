"""TODO"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.oci.referrers import Referrer

#: Content is read in pieces of about this many bytes.
PIECE = 1 << 20


class Content(Protocol):
    """A source of repositories, manifests and blobs; all of it may change between two calls."""

    def of_registry(self, registry: str) -> Content | None:
        """What there is of one registry, under the names that it has there; None where there is nothing."""
        ...

    async def repositories(self) -> Sequence[str]:
        """Name the repositories, sorted."""
        ...

    async def tags(self, repository: str) -> Sequence[str] | None:
        """Name the tags of a repository, sorted; None where there is no such repository."""
        ...

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor | None:
        """Find a manifest or index of a repository by its tag or digest."""
        ...

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Tell the size in bytes of a blob of a repository; None where it has no such blob."""
        ...

    async def referrers(self, repository: str, digest: Digest) -> Sequence[Referrer]:
        """List what in a repository refers to a manifest, which need not be there."""
        ...

    def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Read the bytes from `start` up to `stop` of a manifest or blob that was found, in pieces of at most 1 MiB.

        A piece is good until the next one is asked for. The iterator may be closed before its end. What cannot be
        read, or is not what its digest says, raises an error of this package, instead of the last piece or earlier.
        """
        ...
