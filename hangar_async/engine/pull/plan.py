"""From a reference to what is to be held of it: which manifests, and all content that they name."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hangar_async.engine.limits.queue import Rank
from hangar_async.engine.pull.fetch import Fetcher
from hangar_async.errors import ContentError, NoPlatform
from hangar_async.layout.files import SavedImage, SavedPlatform, folder_names
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, ImageConfig, Index, Manifest
from hangar_async.oci.platform import NO_PLATFORM, Platform, PlatformSelector
from hangar_async.oci.reference import Reference
from hangar_async.store.content import ContentStore

#: Indexes within indexes, at most.
_DEPTH = 8
#: Manifests of one image that are asked for at once; the permits bound the requests of the whole run.
_ABREAST = 20


@dataclass(frozen=True, slots=True)
class ImagePlan:
    """What is to be held of one image; save, load and mirror share it.

    `contents` is everything to be held of the image, each digest once, in the order in which it stands in its index:
    a manifest, its config, its layers, the next one. Of these, `blobs` are the configs and layers, which are still to
    be fetched. `partial` is the index to make where not all of the original is held.
    """

    root: Manifest | Index
    platforms: tuple[tuple[Manifest, Platform], ...]
    contents: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    partial: Index | None = None
    notes: tuple[str, ...] = ()

    def saved(self, reference: Reference) -> SavedImage:
        """How the cache names it, once all of it is held."""
        folders = folder_names(reference, [(manifest.digest, platform) for manifest, platform in self.platforms])
        platforms = tuple(
            SavedPlatform(_with_platform(manifest.descriptor, platform), platform, folder)
            for (manifest, platform), folder in zip(self.platforms, folders, strict=True)
        )
        if self.partial is not None:
            return SavedImage(reference, self.partial.descriptor, platforms, self.root.digest)
        root = platforms[0].descriptor if isinstance(self.root, Manifest) else self.root.descriptor
        return SavedImage(reference, root, platforms)


@dataclass(slots=True)
class _Found:
    """What a walk over the indexes of one image has come upon."""

    platforms: list[tuple[Manifest, Platform]] = field(default_factory=list)
    attestations: list[Manifest] = field(default_factory=list)
    indexes: dict[Digest, Index] = field(default_factory=dict)
    held: set[Digest] = field(default_factory=set)
    refused: list[Platform] = field(default_factory=list)
    unknown: int = 0

    def keeps(self, entry: Descriptor) -> bool:
        """Whether an entry of an index is held, and all below it."""
        index = self.indexes.get(entry.digest)
        if index is not None:
            return all(self.keeps(below) for below in index.manifests)
        return entry.digest in self.held


class Planner:
    """Makes the plans of a run's images."""

    def __init__(
        self, fetcher: Fetcher, store: ContentStore, selector: PlatformSelector, include_foreign: bool
    ) -> None:
        self._fetcher = fetcher
        self._store = store
        self._selector = selector
        self._include_foreign = include_foreign

    async def plan(self, image: Reference, root: Manifest | Index, rank: Rank) -> ImagePlan:
        """Choose the wanted platforms of an image and get their manifests.

        Raises NoPlatform when it has none of them, HangarError when one of its documents cannot be had.
        """
        found = _Found()
        if isinstance(root, Manifest):
            self._take(root, await self._platform_of(root, image, rank), found, named=True)
        else:
            await self._walk(root, image, rank, found, 0)
        if not found.platforms:
            raise NoPlatform(f"no image available for {self._selector} in {image}; it has {_names(found)}")
        return self._made(root, found)

    async def _walk(self, index: Index, image: Reference, rank: Rank, found: _Found, depth: int) -> None:
        if depth == _DEPTH:
            raise ContentError(f"{image} has indexes within indexes, more than {_DEPTH} deep", digest=str(index.digest))
        found.indexes[index.digest] = index
        candidates = [entry for entry in index.manifests if entry.attests is None and self._may_take(entry, found)]
        for entry, document in zip(candidates, await self._documents(candidates, image, rank), strict=True):
            if isinstance(document, Index):
                if document.digest not in found.indexes:
                    await self._walk(document, image, rank, found, depth + 1)
                continue
            platform = entry.platform or await self._platform_of(document, image, rank)
            self._take(document, platform, found, named=False)
        chosen = {str(digest) for digest in found.held}
        attesting = [entry for entry in index.manifests if entry.attests in chosen]
        for document in await self._documents(attesting, image, rank):
            if isinstance(document, Manifest) and document.digest not in found.held:
                found.attestations.append(document)
                found.held.add(document.digest)

    def _may_take(self, entry: Descriptor, found: _Found) -> bool:
        """Tell by the index alone whether an entry can be wanted."""
        if entry.is_index or entry.platform is None:
            return True
        if entry.platform.unknown:
            found.unknown += 1
            return False
        if entry.platform not in self._selector:
            found.refused.append(entry.platform)
            return False
        return True

    def _take(self, manifest: Manifest, platform: Platform, found: _Found, *, named: bool) -> None:
        """Keep a manifest when its platform is wanted; one of no platform when it is an artifact or named itself."""
        if platform.unknown and (named or not manifest.is_image):
            platform = NO_PLATFORM
        elif platform.unknown:
            found.unknown += 1
            return
        elif platform not in self._selector:
            found.refused.append(platform)
            return
        if manifest.digest not in found.held:
            found.platforms.append((manifest, platform))
            found.held.add(manifest.digest)

    async def _platform_of(self, manifest: Manifest, image: Reference, rank: Rank) -> Platform:
        """Read the platform of a manifest that no index describes from its config."""
        if not manifest.is_image:
            return NO_PLATFORM
        config = manifest.config
        if config.size > MAX_DOCUMENT:
            raise ContentError(f"config {config.digest} of {image} has {config.size} bytes", digest=str(config.digest))
        await self._fetcher.fetch(config, image, rank)
        raw = await self._store.read(config.digest, MAX_DOCUMENT)
        return ImageConfig.parse(raw, config.digest).platform

    async def _documents(self, entries: Iterable[Descriptor], image: Reference, rank: Rank) -> list[Manifest | Index]:
        """Get the documents of these entries, in their order."""
        abreast = asyncio.Semaphore(_ABREAST)

        async def get(entry: Descriptor) -> Manifest | Index:
            async with abreast:
                return await self._fetcher.document(entry, image, rank)

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(get(entry)) for entry in entries]
        return [task.result() for task in tasks]

    def _made(self, root: Manifest | Index, found: _Found) -> ImagePlan:
        manifests = {one.digest: one for one in (*(item for item, _ in found.platforms), *found.attestations)}
        parts = [part for manifest in manifests.values() for part in (manifest.config, *manifest.layers)]
        foreign = {part.digest for part in parts if part.is_foreign and not self._include_foreign}
        notes = [f"left out the foreign layer {digest} (--include-foreign fetches it)" for digest in sorted(foreign)]
        if found.unknown:
            notes.append(f"left out {found.unknown} entries of unknown platform")
        partial = None
        if isinstance(root, Index) and not found.keeps(root.descriptor):
            partial = root.with_only(tuple(_kept(root, found)))
        contents: dict[Digest, Descriptor] = {}
        _gather(partial or root, found.indexes, manifests, contents)
        # Of a partial image, the indexes that the registry served; behind it, so that it is read first.
        contents |= {index.digest: index.descriptor for index in found.indexes.values() if index.digest not in contents}
        held = tuple(one for one in contents.values() if one.digest not in foreign)
        named = {part.digest for part in parts}
        blobs = tuple(one for one in held if one.digest in named)
        return ImagePlan(root, tuple(found.platforms), held, blobs, partial, tuple(notes))


def _gather(
    document: Manifest | Index,
    indexes: Mapping[Digest, Index],
    manifests: Mapping[Digest, Manifest],
    contents: dict[Digest, Descriptor],
) -> None:
    """Put a document and everything below it that is held into `contents`, in the order in which it stands there."""
    if document.digest in contents:
        return
    contents[document.digest] = document.descriptor
    if isinstance(document, Manifest):
        for part in (document.config, *document.layers):
            contents.setdefault(part.digest, part)
        return
    for entry in document.manifests:
        below = indexes.get(entry.digest) or manifests.get(entry.digest)
        if below is not None:
            _gather(below, indexes, manifests, contents)


def _kept(index: Index, found: _Found) -> Iterable[Descriptor]:
    """Name what is held of an index; of an index within it that is held in part, what is held of that one."""
    for entry in index.manifests:
        if found.keeps(entry):
            yield entry
        elif entry.digest in found.indexes:
            yield from _kept(found.indexes[entry.digest], found)


def _with_platform(descriptor: Descriptor, platform: Platform) -> Descriptor:
    return Descriptor(descriptor.media_type, descriptor.digest, descriptor.size, platform)


def _names(found: _Found) -> str:
    names = list(dict.fromkeys(str(platform) for platform in found.refused))
    if found.unknown:
        names.append(f"{found.unknown} of unknown platform")
    return ", ".join(names) or "none at all"
