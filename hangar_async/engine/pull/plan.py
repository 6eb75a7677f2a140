"""The plan of an image: the manifests of the selected platforms, and everything that they name."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from hangar_async import oci
from hangar_async.engine.limits.queue import Rank
from hangar_async.errors import ContentError, NoPlatform, NotFound
from hangar_async.layout.files import folder_names
from hangar_async.tasks import each

#: The bytes of all documents of one image, and the entries and layers in them, beyond which it is refused.
MAX_DOCUMENTS_SIZE = 32 << 20
MAX_IMAGE_ENTRIES = 1 << 17


@dataclass(slots=True)
class _Selection:
    """The documents of one image, the platforms that are chosen and refused, and the blobs that indexes name.

    `gone` are the answers for what only accompanies the image, and is not at the registry.
    """

    documents: dict[oci.Digest, oci.Document]
    platforms: list[tuple[oci.Manifest, oci.Platform]] = field(default_factory=list)
    chosen: set[oci.Digest] = field(default_factory=set)
    attestations: list[oci.Manifest] = field(default_factory=list)
    contents: list[oci.Descriptor] = field(default_factory=list)
    refused: dict[str, None] = field(default_factory=dict)
    gone: dict[oci.Digest, NotFound] = field(default_factory=dict)
    unknown: int = 0
    size: int = 0
    budget: oci.EntryBudget = field(default_factory=lambda: oci.EntryBudget(MAX_IMAGE_ENTRIES))

    @property
    def indexes(self) -> dict[oci.Digest, oci.Index]:
        """The root, where it is an index, and the indexes within it."""
        return {digest: index for digest, index in self.documents.items() if isinstance(index, oci.Index)}

    @property
    def manifests(self) -> dict[oci.Digest, oci.Manifest]:
        """The manifests to save, without those that are gone."""
        chosen = [manifest for manifest, _ in self.platforms]
        every = {manifest.digest: manifest for manifest in (*chosen, *self.attestations)}
        return {digest: manifest for digest, manifest in every.items() if digest not in self.gone}

    @property
    def companions(self) -> dict[oci.Digest, oci.Manifest]:
        """The manifests that only accompany the image: its attestations; artifacts and referrers beside images."""
        others = [manifest for manifest, platform in self.platforms if platform.unknown or self._has_subject(manifest)]
        others = others if len(others) < len(self.platforms) else []
        return {manifest.digest: manifest for manifest in (*others, *self.attestations)}

    def _has_subject(self, manifest: oci.Manifest) -> bool:
        """Tell whether a manifest refers to another one of the image."""
        referrer = oci.referrer_of(manifest)
        return referrer is not None and referrer.subject in self.documents

    def choose(self, manifest: oci.Manifest, platform: oci.Platform) -> None:
        """Add the manifest of a platform."""
        self.chosen.add(manifest.digest)
        self.platforms.append((manifest, platform))

    def refused_names(self) -> str:
        """Name the platforms of the image that are not selected."""
        unknown = [f"{self.unknown} of unknown platform"] if self.unknown else []
        return ", ".join((*self.refused, *unknown)) or "none at all"


class Plan:
    """The plan of an image: `image`, whose blobs are still to be fetched."""

    def __init__(
        self, reference: oci.Reference, root: oci.Document, selection: _Selection, include_foreign: bool
    ) -> None:
        self._reference = reference
        self._root = root
        self._selection = selection
        self._include_foreign = include_foreign
        self.image = self._image()

    @property
    def left_out(self) -> int:
        """The number of manifests that accompany the image and are gone."""
        return len(self._selection.gone)

    def needed(self) -> set[oci.Digest]:
        """Return the digests of the blobs without which the image is not whole."""
        companions = self._selection.companions
        manifests = (manifest for digest, manifest in self._selection.manifests.items() if digest not in companions)
        blobs = [*self._selection.contents, *(blob for manifest in manifests for blob in manifest.blobs)]
        return {blob.digest for blob in blobs}

    def leave_out(self, gone: Mapping[oci.Digest, NotFound]) -> None:
        """Make the image without what accompanies it and names one of these blobs."""
        for digest, manifest in self._selection.companions.items():
            for blob in manifest.blobs:
                if blob.digest in gone:
                    self._selection.gone.setdefault(digest, gone[blob.digest])
        self.image = self._image()

    def _image(self) -> oci.Image:
        selection, root = self._selection, self._root
        manifests, indexes = selection.manifests, selection.indexes
        blobs = {blob.digest for blob in selection.contents}
        top, original = root, None
        if isinstance(root, oci.Index):
            top = oci.partial_index(root, {*manifests, *blobs}, indexes)
            original = None if top is root else root.digest
        documents: dict[oci.Digest, oci.Document] = {**indexes, **manifests, top.digest: top}
        contents = {node.descriptor.digest: node.descriptor for node in oci.walk(top.descriptor, documents)}
        for index in indexes.values():
            # The indexes that the registry served stand after a partial one, so that it is read first.
            contents.setdefault(index.digest, index.descriptor)
        parts = [part for manifest in manifests.values() for part in manifest.blobs] + selection.contents
        foreign = {part.digest for part in parts if part.is_foreign and not self._include_foreign}
        chosen = [(manifest, platform) for manifest, platform in selection.platforms if manifest.digest in manifests]
        platforms = _image_platforms(self._reference, chosen)
        return oci.Image(
            self._reference,
            platforms[0].descriptor if isinstance(top, oci.Manifest) else top.descriptor,
            platforms,
            tuple(content for content in contents.values() if content.digest not in foreign),
            documents,
            original,
            notes=tuple(self._notes(foreign)),
        )

    def _notes(self, foreign: Iterable[oci.Digest]) -> Iterator[str]:
        """Name the content that is left out."""
        for digest in sorted(foreign):
            yield f"left out the foreign layer {digest} (--include-foreign fetches it)"
        for digest, error in self._selection.gone.items():
            yield f"left out {digest}, which only accompanies the image: {error}"
        if self._selection.unknown:
            yield f"left out {self._selection.unknown} entries of unknown platform"


class DocumentSource(Protocol):
    """A source of the documents and configs of images."""

    async def document(self, entry: oci.Descriptor, image: oci.Reference, rank: Rank) -> oci.Document:
        """Get the manifest or index that an entry of an index names; raises HangarError."""
        ...

    async def config(self, config: oci.Descriptor, image: oci.Reference, rank: Rank) -> oci.ImageConfig:
        """Get the config of an image; raises HangarError."""
        ...


class Planner:
    """Makes the plans of the images of a run; asks for `at_once` documents of an image at the same time."""

    def __init__(
        self,
        source: DocumentSource,
        selector: oci.PlatformSelector,
        include_foreign: bool,
        at_once: int,
    ) -> None:
        self._source = source
        self._selector = selector
        self._include_foreign = include_foreign
        self._at_once = at_once

    async def plan(self, image: oci.Reference, root: oci.Document, rank: Rank) -> Plan:
        """Choose the selected platforms of an image and get their manifests.

        Raises NoPlatform when it has none of them, HangarError when one of its documents cannot be fetched; one that
        is gone and only accompanies the image is left out.
        """
        selection = _Selection({root.digest: root})
        await self._load(root.descriptor, image, rank, selection)
        attestations = await self._choose(root.descriptor, image, rank, selection)
        selection.contents = self._contents(selection)
        if all(platform.unknown for _, platform in selection.platforms):
            # Nothing is there that the artifacts could accompany.
            for error in selection.gone.values():
                raise error
        if not selection.platforms and not selection.contents:
            self._check_empty(image, root, selection)
        chosen = {str(digest) for digest in selection.manifests}
        needed = [entry for entry in attestations if entry.attests in chosen]
        documents = await self._documents(needed, image, rank, selection)
        selection.attestations += [document for document in documents if isinstance(document, oci.Manifest)]
        return Plan(image, root, selection, self._include_foreign)

    def _check_empty(self, image: oci.Reference, root: oci.Document, selection: _Selection) -> None:
        """Raise NoPlatform for an image without a selected platform: only an index without entries needs none."""
        advice = None
        if isinstance(root, oci.Index) and root.digest in oci.complete(root, (), selection.documents):
            if self._selector.all_architectures:
                return
            advice = "--arch all saves an index without entries as it is"
        names = selection.refused_names()
        raise NoPlatform(f"no image available for {self._selector} in {image}; it has {names}", advice=advice)

    async def _load(self, root: oci.Descriptor, image: oci.Reference, rank: Rank, selection: _Selection) -> None:
        """Get all documents below the root that may be chosen, one level after the other."""
        documents = selection.documents
        for _ in range(oci.MAX_DEPTH + 2):
            missing = [
                node.descriptor
                for node in oci.walk(root, documents)
                if node.document is None and not node.is_blob and self._may_choose(node.descriptor, selection)
            ]
            if not missing:
                return
            loaded = await self._documents(missing, image, rank, selection)
            documents.update((document.digest, document) for document in loaded)

    def _may_choose(self, entry: oci.Descriptor, selection: _Selection) -> bool:
        """Tell by the index alone whether an entry can be chosen."""
        if entry.attests is not None or entry.digest in selection.gone:
            return False
        if entry.is_index or entry.platform is None:
            return True
        return not entry.platform.unknown and entry.platform in self._selector

    async def _choose(
        self, root: oci.Descriptor, image: oci.Reference, rank: Rank, selection: _Selection
    ) -> list[oci.Descriptor]:
        """Choose among the manifests, in the order of the indexes; return the entries of attestations."""
        attestations = []
        for node in list(oci.walk(root, selection.documents)):
            entry, document = node.descriptor, node.document
            if node.is_blob or isinstance(document, oci.Index) or entry.digest in selection.gone:
                continue
            if entry.attests is not None:
                attestations.append(entry)
            elif document is None:
                self._choose_platform(None, entry.platform or oci.NO_PLATFORM, selection)
            else:
                is_root = entry.digest == root.digest
                try:
                    platform = entry.platform or await self._config_platform(document, image, rank)
                except NotFound as error:
                    if is_root or oci.referrer_of(document) is None:
                        raise
                    selection.gone[document.digest] = error
                    continue
                if platform.unknown and (is_root or not document.is_image):
                    selection.choose(document, oci.NO_PLATFORM)
                else:
                    self._choose_platform(document, platform, selection)
        return attestations

    def _contents(self, selection: _Selection) -> list[oci.Descriptor]:
        """Return the blobs among the entries of indexes, but for those of other platforms."""
        blobs = (blob for index in selection.indexes.values() for blob in index.blobs)
        platforms = ((blob, blob.platform or oci.NO_PLATFORM) for blob in blobs)
        return [blob for blob, platform in platforms if platform.unknown or platform in self._selector]

    def _choose_platform(self, manifest: oci.Manifest | None, platform: oci.Platform, selection: _Selection) -> None:
        if platform.unknown:
            selection.unknown += 1
        elif platform not in self._selector:
            selection.refused[str(platform)] = None
        elif manifest is not None and manifest.digest not in selection.chosen:
            selection.choose(manifest, platform)

    async def _config_platform(self, manifest: oci.Manifest, image: oci.Reference, rank: Rank) -> oci.Platform:
        """Read the platform of a manifest that no index describes from its config."""
        if not manifest.is_image:
            return oci.NO_PLATFORM
        config = manifest.config
        if config.size > oci.MAX_DOCUMENT:
            raise ContentError(f"config {config.digest} of {image} has {config.size} bytes", digest=str(config.digest))
        return (await self._source.config(config, image, rank)).platform

    async def _documents(
        self, entries: Collection[oci.Descriptor], image: oci.Reference, rank: Rank, selection: _Selection
    ) -> list[oci.Document]:
        """Get the documents of these entries, in their order, without those that are gone and only accompany others."""

        async def get(entry: oci.Descriptor) -> oci.Document | None:
            try:
                document = await self._source.document(entry, image, rank)
            except NotFound as error:
                if not entry.accompanies:
                    raise
                selection.gone[entry.digest] = error
                return None
            selection.budget.spend(len(oci.children(document)))
            return document

        selection.size += sum(entry.size for entry in entries)
        if selection.size > MAX_DOCUMENTS_SIZE:
            raise ContentError(
                f"the manifests of {image} have {selection.size:,} bytes, and at most {MAX_DOCUMENTS_SIZE:,} are taken"
            )
        return [document for document in await each(entries, get, self._at_once) if document is not None]


class WholePlanner(Planner):
    """Makes plans of all that images have, whatever their platforms; no config is asked for."""

    def _may_choose(self, entry: oci.Descriptor, selection: _Selection) -> bool:
        return entry.digest not in selection.gone

    async def _choose(
        self, root: oci.Descriptor, image: oci.Reference, rank: Rank, selection: _Selection
    ) -> list[oci.Descriptor]:
        for node in oci.walk(root, selection.documents):
            entry, document = node.descriptor, node.document
            if not isinstance(document, oci.Manifest) or document.digest in selection.chosen:
                continue
            if entry.attests is not None:
                selection.attestations.append(document)
            else:
                selection.choose(document, entry.platform or oci.NO_PLATFORM)
        return []

    def _contents(self, selection: _Selection) -> list[oci.Descriptor]:
        return [blob for index in selection.indexes.values() for blob in index.blobs]


def _image_platforms(
    reference: oci.Reference, chosen: list[tuple[oci.Manifest, oci.Platform]]
) -> tuple[oci.ImagePlatform, ...]:
    folders = folder_names(reference, [(manifest.digest, platform) for manifest, platform in chosen])
    return tuple(
        oci.ImagePlatform(oci.Descriptor(manifest.media_type, manifest.digest, len(manifest.raw), platform), folder)
        for (manifest, platform), folder in zip(chosen, folders, strict=True)
    )
