"""The images of a layout as the content of a registry."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from functools import cached_property

from hangar_async.engine.serving.buffers import SMALL
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import InvalidValue
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import LayoutImages
from hangar_async.oci import Descriptor, Digest, Image, Referrer, children, join_index, parse_registry, referrer_of


class LayoutContent:
    """The repositories of a layout, all of them or those of one registry; implements the server's `Content`."""

    def __init__(self, repositories: Repositories, blobs: BlobReader, registry: str | None = None) -> None:
        self._all = repositories
        self._blobs = blobs
        self._repositories = repositories.by_name if registry is None else repositories.by_registry[registry]
        self._by_registry: dict[str, LayoutContent] = {}

    def of_registry(self, registry: str) -> LayoutContent | None:
        """Return the repositories of one registry, under the names that they have there; None for no such registry."""
        name = self._all.find_registry(registry)
        if name is None:
            return None
        if name not in self._by_registry:
            self._by_registry[name] = LayoutContent(self._all, self._blobs, name)
        return self._by_registry[name]

    async def repositories(self) -> Sequence[str]:
        """List the names of the repositories, sorted, without the names that have a port in them."""
        return self._sorted_names

    @cached_property
    def _sorted_names(self) -> Sequence[str]:
        # Sorting many for each request would hold up all others.
        return sorted(name for name in self._repositories if ":" not in name)

    async def tags(self, repository: str) -> Sequence[str] | None:
        """List the tags of a repository, sorted; None for no such repository."""
        content = self._repositories.get(repository)
        return None if content is None else sorted(content.tags)

    async def resolve(self, repository: str, reference: str | Digest) -> Descriptor | None:
        """Find a manifest or index of a repository by its tag or digest."""
        content = self._repositories.get(repository)
        if content is None:
            return None
        digest = reference if isinstance(reference, Digest) else content.tags.get(reference)
        return None if digest is None else content.documents.get(digest)

    async def size(self, repository: str, digest: Digest) -> int | None:
        """Return the size in bytes of a blob of a repository; None for no such blob."""
        content = self._repositories.get(repository)
        return None if content is None else content.blobs.get(digest)

    async def referrers(self, repository: str, digest: Digest) -> Sequence[Referrer]:
        """List the referrers of a manifest in a repository."""
        content = self._repositories.get(repository)
        return [] if content is None else list(content.referrers.get(digest, {}).values())

    async def read(self, digest: Digest, start: int, stop: int) -> AsyncIterator[bytes | memoryview]:
        """Read the bytes from `start` up to `stop` of a manifest or blob; see `BlobReader.read`.

        A manifest or an index is checked as a whole before its first byte is sent.
        """
        index = self._all.joined_indexes.get(digest)
        if index is not None:
            yield memoryview(index)[start:stop]
            return
        # A single piece is checked before it is sent.
        first = digest in self._all.documents and (start > 0 or stop > SMALL)
        async with aclosing(self._blobs.read(digest, start, stop, checked=first)) as pieces:
            async for piece in pieces:
                yield piece


_NOT_OF_A_NAME = re.compile(r"[^a-z0-9.-]+")


@dataclass(slots=True)
class Repository:
    """One repository: tags, manifests and indexes, and the sizes of its blobs, documents among them."""

    tags: dict[str, Digest] = field(default_factory=dict)
    documents: dict[Digest, Descriptor] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    referrers: dict[Digest, dict[Digest, Referrer]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NameConflict:
    """Two images whose names differ in the registry alone: the name without registry stands for the first."""

    name: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Repositories:
    """All repositories, by name, and by registry (in lower case) and the name there.

    `documents` are the digests of all manifests and indexes; `joined_indexes` those of images without an index.
    """

    by_name: Mapping[str, Repository]
    by_registry: Mapping[str, Mapping[str, Repository]]
    documents: frozenset[Digest]
    joined_indexes: Mapping[Digest, bytes]
    conflicts: tuple[NameConflict, ...]

    def find_registry(self, text: str) -> str | None:
        """Return the key of a registry in `by_registry`; None where it has no images."""
        try:
            name = parse_registry(text).lower()
        except InvalidValue:
            return None
        return name if name in self.by_registry else None


def read_repositories(catalog: LayoutImages, sizes: Mapping[str, int]) -> Repositories:
    """Sort images into repositories; `sizes` are those of the files of the layout, by their names.

    Each repository is served under its own name, and with its registry before it. A name with a registry has priority
    over the same name without; of a tag in two repositories of one name, the first image of the list has it.
    """
    builder = _Builder(catalog, sizes)
    registries: dict[str, dict[str, Repository]] = {}
    tags: dict[str, dict[str, tuple[Image, Digest]]] = {}
    conflicts: list[NameConflict] = []
    # First all under their own names, then those that were saved from another registry under those of their lists.
    named = [(image, image.reference) for image in catalog.images]
    for image, reference in [*named, *((image, image.listed) for image in catalog.images if image.listed is not None)]:
        of_registry = registries.setdefault(reference.registry.lower(), {})
        repository = of_registry.setdefault(reference.repository, Repository())
        root = builder.add(image, repository)
        if root is not None and reference.tag is not None:
            repository.tags.setdefault(reference.tag, root)
            first, known = tags.setdefault(reference.repository, {}).setdefault(reference.tag, (image, root))
            if known != root:
                conflicts.append(NameConflict(f"{reference.repository}:{reference.tag}", first.name, image.name))
    plain = {name: {tag: root for tag, (_, root) in images.items()} for name, images in tags.items()}
    by_name, documents = _join_registries(registries, plain), frozenset(catalog.documents)
    return Repositories(by_name, registries, documents, builder.joined_indexes, tuple(conflicts))


def full_names(registry: str, repository: str) -> tuple[str, ...]:
    """Return the names of a repository with its registry before it.

    A repository name has no colon, so a port follows `_` in the first; the second, with the colon, is served as well.
    """
    plain = _NOT_OF_A_NAME.sub("_", registry).strip("_.-")
    return tuple(dict.fromkeys((f"{plain}/{repository}", f"{registry}/{repository}")))


def _join_registries(
    registries: Mapping[str, Mapping[str, Repository]], tags: Mapping[str, dict[str, Digest]]
) -> dict[str, Repository]:
    names: dict[str, Repository] = {}
    for registry, repositories in registries.items():
        for name, repository in repositories.items():
            names.update(dict.fromkeys(full_names(registry, name), repository))
    full = frozenset(names)
    for repositories in registries.values():
        for name, repository in repositories.items():
            if name not in names:
                names[name] = repository
            elif name not in full:
                names[name] = _join(names[name], repository, tags.get(name, {}))
    return names


def _join(first: Repository, second: Repository, tags: dict[str, Digest]) -> Repository:
    referrers = {subject: dict(of_subject) for subject, of_subject in first.referrers.items()}
    for subject, of_subject in second.referrers.items():
        referrers.setdefault(subject, {}).update(of_subject)
    return Repository(tags, {**first.documents, **second.documents}, {**first.blobs, **second.blobs}, referrers)


class _Builder:
    """Puts images into repositories, with their referrers."""

    def __init__(self, catalog: LayoutImages, sizes: Mapping[str, int]) -> None:
        self.joined_indexes: dict[Digest, bytes] = {}
        self._documents = catalog.documents
        self._sizes = sizes
        referrers = (referrer_of(document) for document in catalog.documents.values())
        self._referrers = {referrer.descriptor.digest: referrer for referrer in referrers if referrer is not None}
        self._by_subject: dict[Digest, list[Digest]] = {}
        for digest, referrer in self._referrers.items():
            self._by_subject.setdefault(referrer.subject, []).append(digest)

    def add(self, image: Image, repository: Repository) -> Digest | None:
        """Put an image into a repository; return the digest of its root, None where the layout has no root of it."""
        self._add([content.digest for content in image.contents], repository)
        if image.digest is not None:
            return image.digest if image.digest in repository.documents else None
        manifests = [one.descriptor for one in image.platforms if one.descriptor.digest in repository.documents]
        if not manifests:
            return None
        # A cache of Hangar has no index of an image of several platforms.
        index = join_index(manifests)
        self.joined_indexes[index.digest] = index.raw
        repository.documents[index.digest] = index.descriptor
        repository.blobs[index.digest] = len(index.raw)
        return index.digest

    def _add(self, digests: list[Digest], repository: Repository) -> None:
        """Put contents into a repository, with their children and referrers, as far as the layout has them."""
        while digests:
            digest = digests.pop()
            size = self._sizes.get(blob_name(digest))
            if digest in repository.blobs or size is None:
                continue
            repository.blobs[digest] = size
            document = self._documents.get(digest)
            if document is None:
                continue
            repository.documents[digest] = document.descriptor
            digests += (child.digest for child in children(document))
            digests += self._by_subject.get(digest, ())
            referrer = self._referrers.get(digest)
            if referrer is not None:
                repository.referrers.setdefault(referrer.subject, {})[digest] = referrer
