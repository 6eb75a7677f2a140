"""What a registry serves: the protocol that it asks, and an implementation in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, parse_manifest
from hangar_async.oci.referrers import Referrer, referrer_of
from hangar_async.server.content import PIECE

if TYPE_CHECKING:
    from hangar_async.testing.images import Built


@dataclass(slots=True)
class _Repository:
    manifests: dict[Digest, str] = field(default_factory=dict)
    blobs: set[Digest] = field(default_factory=set)
    tags: dict[str, Digest] = field(default_factory=dict)


class MemoryContent:
    """Content that is put in piece by piece and kept in memory; bytes that several repositories have are kept once."""

    def __init__(self) -> None:
        self._data: dict[Digest, bytes] = {}
        self._repositories: dict[str, _Repository] = {}

    def add_blob(self, repository: str, data: bytes, algorithm: str = "sha256") -> Digest:
        """Put a blob into a repository, and return its digest."""
        digest = Digest.of(data, algorithm)
        self._data[digest] = data
        self._at(repository).blobs.add(digest)
        return digest

    def add_manifest(
        self, repository: str, raw: bytes, media_type: str, tags: Iterable[str] = (), algorithm: str = "sha256"
    ) -> Digest:
        """Put a manifest or index into a repository, under these tags too; what it names is not looked for."""
        digest = Digest.of(raw, algorithm)
        self._data[digest] = raw
        self._at(repository).manifests[digest] = media_type
        for tag in tags:
            self.tag(repository, tag, digest)
        return digest

    def add(self, name: str, built: Built) -> Digest:
        """Put a built image with all that it needs in, as `REPOSITORY[:TAG]`, and return its digest."""
        repository, _, tag = name.partition(":")
        for data in built.blobs.values():
            self.add_blob(repository, data)
        for media_type, raw in built.documents.values():
            self.add_manifest(repository, raw, media_type)
        if tag:
            self.tag(repository, tag, built.digest)
        return built.digest

    def tag(self, repository: str, tag: str, digest: Digest) -> None:
        """Let a tag name a manifest of the repository; a tag that is there already moves."""
        place = self._at(repository)
        if digest not in place.manifests:
            raise InvalidValue(f"{repository} has no manifest {digest}")
        place.tags[tag] = digest

    def remove(self, repository: str, digest: Digest) -> None:
        """Take a manifest or blob out of a repository; tags of it go with it."""
        place = self._at(repository)
        place.blobs.discard(digest)
        place.manifests.pop(digest, None)
        for tag in [tag for tag, target in place.tags.items() if target == digest]:
            del place.tags[tag]

    def of_registry(self, registry: str) -> MemoryContent:
        """All of it: it stands for whatever registry it is taken for."""
        return self

    async def repositories(self) -> Sequence[str]:
        """Name the repositories, sorted."""
        return sorted(self._repositories)

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
        if digest is None or digest not in place.manifests:
            return None
        return Descriptor(place.manifests[digest], digest, len(self._data[digest]))

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Tell the size in bytes of a blob of a repository; None where it has no such blob."""
        place = self._repositories.get(repository)
        return len(self._data[digest]) if place is not None and digest in place.blobs else None

    async def referrers(self, repository: str, digest: Digest) -> Sequence[Referrer]:
        """List what in a repository refers to a manifest."""
        place = self._at(repository) if repository in self._repositories else _Repository()
        documents = (parse_manifest(self._data[one], kind, one.algorithm) for one, kind in place.manifests.items())
        found = (referrer_of(one) for one in documents)
        return [one for one in found if one is not None and one.subject == digest]

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Read the bytes from `start` up to `stop`, in pieces of 1 MiB."""
        view = memoryview(self._data[digest])[start:stop]
        for place in range(0, len(view), PIECE):
            yield view[place : place + PIECE]

    def _at(self, repository: str) -> _Repository:
        return self._repositories.setdefault(repository, _Repository())
