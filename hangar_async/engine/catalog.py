"""The images in holdings: what each consists of, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hangar_async.errors import ContentError, UsageError
from hangar_async.oci import layout
from hangar_async.oci.catalog import (
    MAX_INDEX,
    ListedImage,
    ListedPlatform,
    NamedRoot,
    parse_folder,
    parse_index,
    parse_list,
)
from hangar_async.oci.digest import Digest
from hangar_async.oci.holdings import Holdings
from hangar_async.oci.layout import SavedImage, SavedPlatform
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, Index, Manifest, parse_manifest
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference

#: Documents are read in rounds: indexes, then what they name; nested deeper is refused.
_ROUNDS = 10


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
    `configs` are those of its images; `problems` is what is missing or cannot be read.
    """

    reference: Reference
    root: Descriptor | None
    original: Digest | None
    platforms: tuple[HeldPlatform, ...]
    contents: tuple[Descriptor, ...]
    configs: tuple[Descriptor, ...]
    problems: tuple[str, ...]

    @property
    def name(self) -> str:
        """`REGISTRY/REPO:TAG`."""
        return self.reference.cache_name

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
    """The images in holdings, in the order of their list, and its time as it stands there."""

    images: tuple[HeldImage, ...]
    saved: str


def read_catalog(holdings: Holdings) -> Catalog:
    """Read what images there are; raises ContentError when the list of them cannot be read.

    Synchronous, for a thread. Digests of documents are checked; blobs are only looked for.
    """
    files = holdings.documents([layout.LIST_NAME, layout.INDEX_NAME], MAX_INDEX)
    if layout.LIST_NAME not in files:
        raise ContentError(
            f"there is no {layout.LIST_NAME} in it",
            advice="name an archive, its first part, or a cache directory made by save",
        )
    listed = parse_list(files[layout.LIST_NAME])
    roots = _roots(files.get(layout.INDEX_NAME))
    sizes = holdings.sizes()
    folders = _folders(holdings, listed.images)
    wanted = [root.root for root in roots.values()] + [one for one in folders.values() if isinstance(one, Descriptor)]
    documents = _Documents(holdings, sizes)
    originals = [root.original for root in roots.values() if root.original is not None]
    wanted += [_unnamed(digest, sizes) for digest in originals]
    documents.load(wanted)
    images = tuple(_image(image, roots.get(image.name), folders, documents, sizes) for image in listed.images)
    return Catalog(images, listed.saved)


def find_image(images: Iterable[HeldImage], name: str) -> HeldImage:
    """Return the image of this name; raises UsageError naming those that are there."""
    held = {image.name: image for image in images}
    if name not in held:
        some = ", ".join(list(held)[:5]) or "none"
        raise UsageError(f"there is no image {name} in it, but {len(held)} others: {some}")
    return held[name]


def _roots(raw: bytes | None) -> dict[str, NamedRoot]:
    if raw is None:
        return {}
    return {root.reference.cache_name: root for root in parse_index(raw)}


def _folders(holdings: Holdings, listed: Iterable[ListedImage]) -> dict[str, Descriptor | str]:
    """Read the layouts of all platforms: the descriptor of the manifest, or what is wrong."""
    names = [platform.folder for image in listed for platform in image.platforms]
    files = holdings.documents([f"{name}/{layout.INDEX_NAME}" for name in names], MAX_DOCUMENT)
    found: dict[str, Descriptor | str] = {}
    for name in names:
        raw = files.get(f"{name}/{layout.INDEX_NAME}")
        try:
            found[name] = f"{name}/{layout.INDEX_NAME} is missing" if raw is None else parse_folder(raw, name)
        except ContentError as error:
            found[name] = str(error)
    return found


@dataclass
class _Documents:
    """Manifests and indexes that were read, and what was wrong with others."""

    holdings: Holdings
    sizes: Mapping[str, int]
    parsed: dict[Digest, Manifest | Index] = field(default_factory=dict)
    wrong: dict[Digest, str] = field(default_factory=dict)

    def load(self, wanted: Iterable[Descriptor]) -> None:
        """Read these, then what the indexes among them name, and so on."""
        missing = {one.digest: one for one in wanted}
        for _ in range(_ROUNDS):
            names = {layout.blob_name(digest): one for digest, one in missing.items()}
            raws = self.holdings.documents(names, MAX_DOCUMENT)
            below: dict[Digest, Descriptor] = {}
            for name, one in names.items():
                document = self._parse(one, raws.get(name))
                if isinstance(document, Index):
                    below.update({entry.digest: entry for entry in document.manifests})
            missing = {digest: one for digest, one in below.items() if digest not in self.parsed}
            missing = {digest: one for digest, one in missing.items() if digest not in self.wrong}
            if not missing:
                return

    def _parse(self, one: Descriptor, raw: bytes | None) -> Manifest | Index | None:
        try:
            if raw is None:
                raise ContentError(f"manifest {one.digest} is missing")
            if Digest.of(raw, one.digest.algorithm) != one.digest:
                raise ContentError(f"manifest {one.digest} is damaged")
            document = self.parsed[one.digest] = parse_manifest(raw, one.media_type, one.digest.algorithm)
        except ContentError as error:
            self.wrong[one.digest] = str(error)
            return None
        return document


def _image(
    listed: ListedImage,
    root: NamedRoot | None,
    folders: Mapping[str, Descriptor | str],
    documents: _Documents,
    sizes: Mapping[str, int],
) -> HeldImage:
    contents: dict[Digest, Descriptor] = {}
    problems: dict[str, None] = {}
    if root is not None:
        _collect(root.root, documents, contents, problems)
        if root.original is not None:
            _note_original(_unnamed(root.original, sizes), documents, contents, problems)
    platforms = []
    for platform in listed.platforms:
        descriptor = folders[platform.folder]
        if isinstance(descriptor, str):
            problems[descriptor] = None
            continue
        own: dict[Digest, Descriptor] = {}
        _collect(descriptor, documents, own, problems)
        contents = {**contents, **own}
        platforms.append(_platform(platform, descriptor, own))
    for content in contents.values():
        size = sizes.get(layout.blob_name(content.digest))
        if size is None and not content.is_foreign:
            problems.setdefault(f"blob {content.digest} is missing", None)
        elif size is not None and size != content.size:
            problems[f"blob {content.digest} has {size} bytes instead of {content.size}"] = None
    held = tuple(one for one in contents.values() if layout.blob_name(one.digest) in sizes or not one.is_foreign)
    named, original = (root.root, root.original) if root is not None else (None, None)
    reference = root.reference if root is not None else Reference.parse(listed.name)
    manifests = [documents.parsed.get(platform.descriptor.digest) for platform in platforms]
    configs = tuple(one.config for one in manifests if isinstance(one, Manifest) and one.is_image)
    return HeldImage(reference, named, original, tuple(platforms), held, configs, tuple(problems))


def _collect(
    one: Descriptor, documents: _Documents, contents: dict[Digest, Descriptor], problems: dict[str, None]
) -> None:
    """Gather a manifest or index and everything below it."""
    if one.digest in contents:
        return
    contents[one.digest] = one
    document = documents.parsed.get(one.digest)
    if document is None:
        problems[documents.wrong.get(one.digest, f"manifest {one.digest} is nested too deep")] = None
    elif isinstance(document, Index):
        for entry in document.manifests:
            _collect(entry, documents, contents, problems)
    else:
        for part in (document.config, *document.layers):
            contents.setdefault(part.digest, part)


def _unnamed(digest: Digest, sizes: Mapping[str, int]) -> Descriptor:
    # Nothing says how large an original index is, nor of which type: it itself does.
    return Descriptor("", digest, sizes.get(layout.blob_name(digest), 0))


def _note_original(
    one: Descriptor, documents: _Documents, contents: dict[Digest, Descriptor], problems: dict[str, None]
) -> None:
    """Note the index that the registry served, and the indexes within it that are held in part."""
    document = documents.parsed.get(one.digest)
    if document is None:
        problems[documents.wrong.get(one.digest, f"the original index {one.digest} is missing")] = None
        return
    contents.setdefault(one.digest, one)
    if isinstance(document, Index):
        for entry in document.manifests:
            if entry.digest not in contents and isinstance(documents.parsed.get(entry.digest), Index):
                _note_original(entry, documents, contents, problems)


def _platform(listed: ListedPlatform, descriptor: Descriptor, own: Mapping[Digest, Descriptor]) -> HeldPlatform:
    size = sum(content.size for content in own.values())
    return HeldPlatform(descriptor, listed.platform, listed.folder, size)
