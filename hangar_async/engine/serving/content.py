"""What is held, as the content of a registry."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field

from hangar_async.engine.serving.buffers import SMALL
from hangar_async.engine.serving.reader import BlobReader
from hangar_async.errors import InvalidValue
from hangar_async.layout.files import blob_name
from hangar_async.layout.images import LayoutImages
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image
from hangar_async.oci.manifest import Descriptor, Index, Manifest, join_index
from hangar_async.oci.reference import parse_registry
from hangar_async.oci.referrers import Referrer, referrer_of


class LayoutContent:
    """Repositories of held images, all of them, or those of one registry; implements the server's `Content`."""

    def __init__(self, shelf: Shelf, blobs: BlobReader, repositories: Mapping[str, Repository] | None = None) -> None:
        self._shelf = shelf
        self._blobs = blobs
        self._repositories = shelf.repositories if repositories is None else repositories

    def of_registry(self, registry: str) -> LayoutContent | None:
        """What is held of one registry, under the names that it has there; None where that is nothing."""
        found = self._shelf.of_registry(registry)
        return None if found is None else LayoutContent(self._shelf, self._blobs, found)

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
        """Read the bytes from `start` up to `stop` of what was found; see `BlobReader.read`.

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


_NOT_OF_A_NAME = re.compile(r"[^a-z0-9.-]+")


@dataclass(slots=True)
class Repository:
    """What one repository has: tags, manifests and indexes, and the sizes of blobs, documents among them."""

    tags: dict[str, Digest] = field(default_factory=dict)
    documents: dict[Digest, Descriptor] = field(default_factory=dict)
    blobs: dict[Digest, int] = field(default_factory=dict)
    referrers: dict[Digest, dict[Digest, Referrer]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Clash:
    """Two images that have one name but for their registries: the first of the list has it, the second has not."""

    name: str
    first: str
    second: str


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that is served, by the names of its repositories, and the same by registry, in lower case.

    `documents` are the digests of all manifests and indexes; `made` are indexes of images that came without one.
    """

    repositories: Mapping[str, Repository]
    registries: Mapping[str, Mapping[str, Repository]]
    documents: frozenset[Digest]
    made: Mapping[Digest, bytes]
    clashes: tuple[Clash, ...]

    def of_registry(self, text: str) -> Mapping[str, Repository] | None:
        """The repositories of a registry, by the names that they have there; None where there are none."""
        try:
            return self.registries.get(parse_registry(text).lower())
        except InvalidValue:
            return None


def shelve(catalog: LayoutImages, sizes: Mapping[str, int]) -> Shelf:
    """Sort images into repositories; `sizes` are those of the files that are held, by their names.

    Each repository has its own name, and that of its registry before it. Where two have one name, the one with a
    registry counts; of a tag that both have, the first of the list.
    """
    builder = _Builder(catalog, sizes)
    registries: dict[str, dict[str, Repository]] = {}
    tags: dict[str, dict[str, tuple[Image, Digest]]] = {}
    clashes: list[Clash] = []
    for image in catalog.images:
        reference = image.reference
        of_registry = registries.setdefault(reference.registry.lower(), {})
        place = of_registry.setdefault(reference.repository, Repository())
        root = builder.add(image, place)
        if root is not None and reference.tag is not None:
            place.tags.setdefault(reference.tag, root)
            first, known = tags.setdefault(reference.repository, {}).setdefault(reference.tag, (image, root))
            if known != root:
                clashes.append(Clash(f"{reference.repository}:{reference.tag}", first.name, image.name))
    plain = {name: {tag: root for tag, (_, root) in found.items()} for name, found in tags.items()}
    return Shelf(_named(registries, plain), registries, frozenset(catalog.documents), builder.made, tuple(clashes))


def full_names(registry: str, repository: str) -> tuple[str, ...]:
    """The names of a repository with its registry before it.

    A name cannot have the colon of a port in it, so that one has `_` there; as it is it can be asked for all the same.
    """
    plain = _NOT_OF_A_NAME.sub("_", registry).strip("_.-")
    return tuple(dict.fromkeys((f"{plain}/{repository}", f"{registry}/{repository}")))


def _named(
    registries: Mapping[str, Mapping[str, Repository]], tags: Mapping[str, dict[str, Digest]]
) -> dict[str, Repository]:
    names: dict[str, Repository] = {}
    for registry, repositories in registries.items():
        for name, one in repositories.items():
            names.update(dict.fromkeys(full_names(registry, name), one))
    full = frozenset(names)
    for repositories in registries.values():
        for name, one in repositories.items():
            if name not in names:
                names[name] = one
            elif name not in full:
                names[name] = _joined(names[name], one, tags.get(name, {}))
    return names


def _joined(one: Repository, other: Repository, tags: dict[str, Digest]) -> Repository:
    referrers = {subject: dict(found) for subject, found in one.referrers.items()}
    for subject, found in other.referrers.items():
        referrers.setdefault(subject, {}).update(found)
    return Repository(tags, {**one.documents, **other.documents}, {**one.blobs, **other.blobs}, referrers)


class _Builder:
    """Puts images into repositories, with all that refers to them."""

    def __init__(self, catalog: LayoutImages, sizes: Mapping[str, int]) -> None:
        self.made: dict[Digest, bytes] = {}
        self._documents = catalog.documents
        self._sizes = sizes
        found = (referrer_of(document) for document in catalog.documents.values())
        self._referrers = {one.descriptor.digest: one for one in found if one is not None}
        self._of: dict[Digest, list[Digest]] = {}
        for digest, one in self._referrers.items():
            self._of.setdefault(one.subject, []).append(digest)

    def add(self, image: Image, place: Repository) -> Digest | None:
        """Put an image into a repository; return what names it as a whole, None where that is not held."""
        self._add([one.digest for one in image.contents], place)
        if image.digest is not None:
            return image.digest if image.digest in place.documents else None
        held = [one.descriptor for one in image.platforms if one.descriptor.digest in place.documents]
        if not held:
            return None
        # In a cache of Hangar's nothing names an image of several platforms as a whole.
        index = join_index(held)
        self.made[index.digest] = index.raw
        place.documents[index.digest] = index.descriptor
        place.blobs[index.digest] = len(index.raw)
        return index.digest

    def _add(self, wanted: list[Digest], place: Repository) -> None:
        """Put these into a repository, with all that they name, and what refers to them, as far as it is held."""
        while wanted:
            digest = wanted.pop()
            size = self._sizes.get(blob_name(digest))
            if digest in place.blobs or size is None:
                continue
            place.blobs[digest] = size
            document = self._documents.get(digest)
            if document is None:
                continue
            place.documents[digest] = document.descriptor
            wanted += _below(document)
            wanted += self._of.get(digest, ())
            referrer = self._referrers.get(digest)
            if referrer is not None:
                place.referrers.setdefault(referrer.subject, {})[digest] = referrer


def _below(document: Manifest | Index) -> Iterator[Digest]:
    parts = document.manifests if isinstance(document, Index) else (document.config, *document.layers)
    return (part.digest for part in parts)
