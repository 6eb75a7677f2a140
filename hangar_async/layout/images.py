"""The images in holdings: what each consists of, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from hangar_async.errors import ContentError, UsageError
from hangar_async.layout.directory import ForeignLayout
from hangar_async.layout.files import INDEX_NAME, LIST_NAME, SavedImage, SavedPlatform, blob_name
from hangar_async.layout.manifest_loader import Documents, Gathered, read_files
from hangar_async.layout.parse import (
    MAX_INDEX,
    LayoutEntry,
    ListedImage,
    ListedPlatform,
    NamedRoot,
    SavedList,
    parse_folder,
    parse_index,
    parse_layout_index,
    parse_list,
)
from hangar_async.layout.protocols import Layout
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, ImageConfig, Index, Manifest, join_index
from hangar_async.oci.platform import NO_PLATFORM, Platform
from hangar_async.oci.reference import Reference

#: The index of a folder names one manifest.
_MOST_FOLDER = 1 << 20


@dataclass(frozen=True, slots=True)
class HeldPlatform:
    """One platform of a held image: the descriptor of its manifest, and the sizes of what the manifest names."""

    descriptor: Descriptor
    platform: Platform
    folder: str
    size: int


@dataclass(frozen=True, slots=True)
class HeldImage:
    """One image in holdings.

    `root` names it as a whole (None in holdings without an `index.json`), `original` is the digest of the index that
    the registry served when `root` is a partial one. `contents` is everything that is to be there, each digest once;
    `configs` are those of its images; `problems` is what is missing or cannot be read. `originals` are those of the
    contents that are kept beside it alone: indexes that the registry served, of which not all is held. `named` is
    False for an image of some other layout that has no name: its digest stands for one.
    """

    reference: Reference
    root: Descriptor | None
    original: Digest | None
    platforms: tuple[HeldPlatform, ...]
    contents: tuple[Descriptor, ...]
    configs: tuple[Descriptor, ...]
    problems: tuple[str, ...]
    originals: frozenset[Digest] = frozenset()
    named: bool = True

    @property
    def name(self) -> str:
        """`REGISTRY/REPO:TAG`, or the digest of one that has no name."""
        return self.reference.cache_name if self.named else str(self.reference.digest)

    @property
    def digest(self) -> Digest | None:
        """What names it as a whole: the digest of `root`, or of its only manifest; None where there is neither."""
        if self.root is not None:
            return self.root.digest
        return self.platforms[0].descriptor.digest if len(self.platforms) == 1 else None

    @property
    def size(self) -> int:
        """How many bytes it consists of."""
        return sum(content.size for content in self.contents)

    def saved(self, root: Descriptor) -> SavedImage:
        """How a cache names it, as a whole by this descriptor."""
        platforms = tuple(SavedPlatform(one.descriptor, one.platform, one.folder) for one in self.platforms)
        return SavedImage(self.reference, root, platforms, self.original)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The images in holdings, in the order of their list, and its time as it stands there.

    `documents` are all manifests and indexes that could be read.
    """

    images: tuple[HeldImage, ...]
    saved: str
    documents: Mapping[Digest, Manifest | Index]


def read_catalog(layout: Layout, *, unlisted: bool = False) -> Catalog:
    """Read what images there are; raises ContentError when the list of them cannot be read, or names too much.

    Synchronous, for a thread. Digests of documents are checked; blobs are only looked for. Images that `index.json`
    alone names are among them, in their place; with `unlisted` there may be none but these.
    """
    files = dict(read_files(layout, [LIST_NAME, INDEX_NAME], MAX_INDEX))
    if LIST_NAME not in files and not unlisted:
        raise ContentError(
            f"there is no {LIST_NAME} in it",
            advice="name an archive, its first part, or a cache directory made by save",
        )
    listed = parse_list(_whole(files[LIST_NAME])) if LIST_NAME in files else SavedList((), "")
    indexed = INDEX_NAME in files
    roots = {one.reference.cache_name: one for one in parse_index(_whole(files[INDEX_NAME]))} if indexed else {}
    documents = Documents(layout, layout.sizes())
    folders = _folders(layout, listed.images)
    documents.load(
        [root.root for root in roots.values()]
        + [documents.unnamed(root.original) for root in roots.values() if root.original is not None]
        + [one for one in folders.values() if isinstance(one, Descriptor)]
    )
    images = [_image(image, roots.get(image.name), indexed, folders, documents) for image in listed.images]
    names = {image.name for image in listed.images}
    images += [_unlisted(root, documents) for name, root in roots.items() if name not in names]
    order = {name: number for number, name in enumerate(roots)}
    images.sort(key=lambda image: order.get(image.name, len(order)))
    return Catalog(tuple(images), listed.saved, documents.parsed)


def find_image(images: Iterable[HeldImage], name: str) -> HeldImage:
    """Return the image of this name; raises UsageError naming those that are there."""
    held = {image.name: image for image in images}
    if name not in held:
        some = ", ".join(list(held)[:5]) or "none"
        raise UsageError(f"there is no image {name} in it, but {len(held)} others: {some}")
    return held[name]


def root_of(image: HeldImage, documents: Mapping[Digest, Manifest | Index]) -> Manifest | Index:
    """What names an image: what its holdings say, else its one manifest, else an index of them made for it.

    Raises ContentError where that is missing.
    """
    named = [image.root] if image.root is not None else [platform.descriptor for platform in image.platforms]
    if len(named) != 1:
        return join_index(named)
    if named[0].digest not in documents:
        raise ContentError(f"manifest {named[0].digest} is missing", digest=str(named[0].digest))
    return documents[named[0].digest]


def _whole(content: bytes | ContentError) -> bytes:
    if isinstance(content, ContentError):
        raise content
    return content


def _folders(layout: Layout, listed: Iterable[ListedImage]) -> dict[str, Descriptor | str]:
    """Read the layouts of all platforms: the descriptor of the manifest, or what is wrong."""
    names = {f"{one.folder}/{INDEX_NAME}": one.folder for image in listed for one in image.platforms}
    found: dict[str, Descriptor | str] = {folder: f"{name} is missing" for name, folder in names.items()}
    for name, content in read_files(layout, names, _MOST_FOLDER):
        try:
            found[names[name]] = parse_folder(_whole(content), names[name])
        except ContentError as error:
            found[names[name]] = str(error)
    return found


def _image(
    listed: ListedImage,
    root: NamedRoot | None,
    indexed: bool,
    folders: Mapping[str, Descriptor | str],
    documents: Documents,
) -> HeldImage:
    found = Gathered()
    if root is not None:
        _gather_root(root, documents, found)
    elif indexed:
        found.problems[f"{INDEX_NAME} does not name it, which {LIST_NAME} does"] = None
    if not listed.platforms:
        found.problems[f"{LIST_NAME} names no platform of it"] = None
    platforms = tuple(_platform(one, root, indexed, folders[one.folder], documents, found) for one in listed.platforms)
    reference = root.reference if root is not None else Reference.parse(listed.name)
    return held_image(reference, root, platforms, documents, found)


def _unlisted(root: NamedRoot, documents: Documents) -> HeldImage:
    found = Gathered()
    _gather_root(root, documents, found)
    found.problems[f"{LIST_NAME} does not name it, which {INDEX_NAME} does"] = None
    return held_image(root.reference, root, (), documents, found)


def _gather_root(root: NamedRoot, documents: Documents, found: Gathered) -> None:
    documents.gather(root.root, found)
    if root.original is not None:
        documents.gather_original(documents.unnamed(root.original), found)


def _platform(
    listed: ListedPlatform,
    root: NamedRoot | None,
    indexed: bool,
    folder: Descriptor | str,
    documents: Documents,
    found: Gathered,
) -> HeldPlatform:
    """Tell what one platform consists of; one whose folder cannot be read is known by what the list says."""
    if isinstance(folder, str):
        found.problems[folder] = None
        return HeldPlatform(Descriptor("", listed.digest, 0, listed.platform), listed.platform, listed.folder, 0)
    place = f"{listed.folder}/{INDEX_NAME}"
    # Hangar's list has the digest at the source, and its folders may have what it made of that.
    if indexed and folder.digest != listed.digest:
        found.problems[f"{place} names {folder.digest}, and {LIST_NAME} {listed.digest}"] = None
    if root is not None and folder.digest not in found.contents:
        found.problems[f"{place} names {folder.digest}, which the image's index does not"] = None
    if isinstance(documents.parsed.get(folder.digest), Index):
        found.problems[f"{place} names an index and no manifest"] = None
    documents.gather(folder, found)
    descriptor = Descriptor(folder.media_type, folder.digest, folder.size, listed.platform)
    return HeldPlatform(descriptor, listed.platform, listed.folder, documents.size(folder))


def held_image(
    reference: Reference,
    root: NamedRoot | None,
    platforms: tuple[HeldPlatform, ...],
    documents: Documents,
    found: Gathered,
    *,
    named: bool = True,
) -> HeldImage:
    """Put together what was found of an image, and say what of it is missing."""
    contents = {**found.contents, **found.originals}
    for one in contents.values():
        size = documents.sizes.get(blob_name(one.digest))
        if size is None and not one.is_foreign and one.digest not in documents.wrong:
            found.problems.setdefault(f"blob {one.digest} is missing", None)
        elif size is not None and size != one.size:
            found.problems[f"blob {one.digest} has {size} bytes instead of {one.size}"] = None
    held = tuple(one for one in contents.values() if blob_name(one.digest) in documents.sizes or not one.is_foreign)
    manifests = [documents.parsed.get(platform.descriptor.digest) for platform in platforms]
    return HeldImage(
        reference,
        None if root is None else root.root,
        None if root is None else root.original,
        platforms,
        held,
        tuple(one.config for one in manifests if isinstance(one, Manifest) and one.is_image),
        tuple(found.problems),
        frozenset(found.originals.keys() - found.contents.keys()),
        named,
    )


def read_layout(layout: ForeignLayout) -> Catalog:
    """Read what images there are, as `read_catalog` does of a cache; synchronous, for a thread.

    The platforms of an image are those that its index names, and of which there is something; where it names none,
    the config says. Raises ContentError when `index.json` cannot be read.
    """
    raw = dict(read_files(layout, [INDEX_NAME], MAX_INDEX)).get(INDEX_NAME)
    if not isinstance(raw, bytes):
        raise raw or ContentError(f"its {INDEX_NAME} is no file", advice="name an archive, or an OCI image layout")
    entries = parse_layout_index(raw, layout.root.resolve().name)
    documents = Documents(layout, layout.sizes())
    documents.load([entry.root for entry in entries])
    configs = _Configs(layout, documents)
    return Catalog(tuple(_layout_image(entry, documents, configs) for entry in entries), "", documents.parsed)


def _layout_image(entry: LayoutEntry, documents: Documents, configs: _Configs) -> HeldImage:
    found = Gathered()
    documents.gather(entry.root, found)
    platforms: dict[Digest, HeldPlatform] = {}
    for one, manifest in _manifests(entry.root, found, documents):
        platform = one.platform or configs.platform_of(manifest)
        if platform.unknown and manifest.is_image and one.digest != entry.root.digest:
            continue  # an attestation whose entry does not say so
        descriptor = Descriptor(manifest.media_type, one.digest, one.size, platform)
        platforms.setdefault(one.digest, HeldPlatform(descriptor, platform, "", documents.size(one)))
    root = NamedRoot(entry.reference, entry.root, None)
    return held_image(entry.reference, root, tuple(platforms.values()), documents, found, named=entry.named)


def _manifests(root: Descriptor, found: Gathered, documents: Documents) -> Iterator[tuple[Descriptor, Manifest]]:
    """Go through the manifests of an image that are no attestations, as their indexes describe them."""
    for one in found.contents.values():
        document = documents.parsed.get(one.digest)
        if isinstance(document, Manifest) and one.attests is None:
            yield one, document


class _Configs:
    """The platforms that configs name, each read once; those that cannot be read name none."""

    def __init__(self, layout: ForeignLayout, documents: Documents) -> None:
        self._layout = layout
        self._documents = documents

    def platform_of(self, manifest: Manifest) -> Platform:
        """Say what an image runs on, by its config; no platform for an artifact."""
        if not manifest.is_image:
            return NO_PLATFORM
        for _, raw in read_files(self._layout, [blob_name(manifest.config.digest)], MAX_DOCUMENT):
            if isinstance(raw, bytes):
                try:
                    return ImageConfig.parse(raw, manifest.config.digest).platform
                except ContentError:
                    break
        return NO_PLATFORM
