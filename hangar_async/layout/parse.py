"""The index files of a cache directory, read: bytes to values. What they say is checked before it is used."""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from hangar_async.errors import ContentError, InvalidValue
from hangar_async.layout.files import INDEX_NAME, LIST_NAME, LIST_VERSION, ORIGINAL_DIGEST
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import REF_NAME, Descriptor, Index, parse_manifest
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference
from hangar_async.oci.strict_json import decode

#: Larger index files are refused: a list of sixty thousand platforms is about 18 MB.
MAX_INDEX = 64 << 20
_FOLDER = re.compile(r"[a-f0-9]{64}")
#: The longest time and the longest name of a list that are taken.
_LONGEST = 200
_LONGEST_NAME = 1000


class _ImageJson(msgspec.Struct):
    Digest: str
    Arch: str = ""
    OS: str = ""
    OsVersion: str | None = None
    Variant: str | None = None
    Folder: str = ""


class _EntryJson(msgspec.Struct):
    Source: str
    Tag: str
    Images: list[_ImageJson] | None = None


class _ListJson(msgspec.Struct):
    List: list[_EntryJson] | None
    Version: str
    SavedTime: str = ""


@dataclass(frozen=True, slots=True)
class ListedPlatform:
    """One platform of an image, as `saved-images-list.json` has it."""

    digest: Digest
    platform: Platform
    folder: str


@dataclass(frozen=True, slots=True)
class ListedImage:
    """One image of `saved-images-list.json`; `name` is `REGISTRY/REPO:TAG`."""

    name: str
    platforms: tuple[ListedPlatform, ...]


@dataclass(frozen=True, slots=True)
class SavedList:
    """What `saved-images-list.json` says: its images, and its time as it stands there."""

    images: tuple[ListedImage, ...]
    saved: str


@dataclass(frozen=True, slots=True)
class NamedRoot:
    """One image of `index.json`: its reference, what it names, and the digest of the original of a partial index."""

    reference: Reference
    root: Descriptor
    original: Digest | None


def parse_list(raw: bytes) -> SavedList:
    """Read `saved-images-list.json`; raises ContentError.

    What it says twice counts once: an image that comes again, or a platform of it.
    """
    try:
        document = decode(raw, _ListJson)
    except ValueError as error:
        raise ContentError(f"{LIST_NAME} cannot be read: {error}") from error
    if document.Version != LIST_VERSION:
        version = document.Version[:_LONGEST]
        raise ContentError(f"{LIST_NAME} has the version {version!r}, and only {LIST_VERSION!r} can be read")
    images: dict[str, dict[str, ListedPlatform]] = {}
    try:
        _check_time(document.SavedTime)
        for entry in document.List or ():
            platforms = images.setdefault(_name(entry), {})
            for image in entry.Images or ():
                platform = _listed(image)
                if platforms.setdefault(platform.folder, platform) != platform:
                    raise InvalidValue(f"two platforms of one image have the folder {platform.folder}")
    except InvalidValue as error:
        raise ContentError(f"{LIST_NAME}: {error}") from error
    listed = tuple(ListedImage(name, tuple(platforms.values())) for name, platforms in images.items())
    return SavedList(listed, document.SavedTime)


def parse_index(raw: bytes) -> tuple[NamedRoot, ...]:
    """Read the `index.json` of a layout: the images that have a name which is a reference.

    Raises ContentError, also where two have one name.
    """
    index = _index(raw, INDEX_NAME)
    roots: dict[str, NamedRoot] = {}
    for entry in index.manifests:
        try:
            reference = Reference.parse(entry.annotations.get(REF_NAME, ""))
            original = entry.annotations.get(ORIGINAL_DIGEST)
            root = NamedRoot(reference, entry, Digest.parse(original) if original else None)
        except InvalidValue:
            continue
        if roots.setdefault(reference.cache_name, root) != root:
            raise ContentError(f"{INDEX_NAME} names {reference.cache_name} twice")
    return tuple(roots.values())


def parse_folder(raw: bytes, folder: str) -> Descriptor:
    """Read the `index.json` of one image folder: its one manifest. Raises ContentError."""
    manifests = _index(raw, f"{folder}/{INDEX_NAME}").manifests
    if len(manifests) != 1:
        raise ContentError(f"{folder}/{INDEX_NAME} names {len(manifests)} manifests instead of one")
    return manifests[0]


def _name(entry: _EntryJson) -> str:
    text = f"{entry.Source}:{entry.Tag}"
    if len(text) > _LONGEST_NAME:
        raise InvalidValue(f"{text[:80]!r}... is longer than {_LONGEST_NAME} characters")
    return Reference.parse(text).cache_name


def _listed(image: _ImageJson) -> ListedPlatform:
    if not _FOLDER.fullmatch(image.Folder):
        raise InvalidValue(f"{image.Folder[:80]!r} is not the name of a folder: 64 of the characters 0-9 a-f")
    platform = Platform(image.OS, image.Arch, image.Variant or "", image.OsVersion or "")
    return ListedPlatform(Digest.parse(image.Digest), platform, image.Folder)


def _check_time(text: str) -> None:
    if len(text) > _LONGEST or not text.isprintable():
        raise InvalidValue(f"{text[:80]!r} is no time")


def _index(raw: bytes, name: str) -> Index:
    try:
        document = parse_manifest(raw, limit=MAX_INDEX)
    except ContentError as error:
        raise ContentError(f"{name}: {error}") from error
    if not isinstance(document, Index):
        raise ContentError(f"{name} is no index")
    return document


#: The full name, as containerd, BuildKit and `docker save` write it.
_FULL_NAME = "io.containerd.image.name"
#: The registry of images that have no other.
_NO_REGISTRY = "localhost"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_DIRECTORY = 100
_KINDS = media_types.MANIFESTS | media_types.INDEXES | {""}


@dataclass(frozen=True, slots=True)
class LayoutEntry:
    """One image of a layout; without a name (`named` False) its reference is made of the directory and the digest."""

    reference: Reference
    root: Descriptor
    named: bool


def parse_layout_index(raw: bytes, directory: str) -> tuple[LayoutEntry, ...]:
    """Read the `index.json` of the layout in a directory of this name; raises ContentError.

    An image's name is its annotation `io.containerd.image.name`, else `org.opencontainers.image.ref.name` where that
    is a reference; where that is a tag alone, the directory's name is the repository, on `localhost`. Of several
    images with one name the first has it. Entries that are neither manifest nor index are passed over.
    """
    try:
        index = parse_manifest(raw, media_types.OCI_INDEX, limit=MAX_INDEX)
    except ContentError as error:
        raise ContentError(f"{INDEX_NAME}: {error}") from error
    assert isinstance(index, Index)  # noqa: S101 - of its Content-Type, or refused
    entries: dict[str, LayoutEntry] = {}
    for root in index.manifests:
        if root.media_type not in _KINDS:
            continue
        reference = _layout_name(root, repository_of(directory))
        named = reference is not None and reference.cache_name not in entries
        if reference is None or not named:
            reference = Reference(_NO_REGISTRY, repository_of(directory), None, root.digest)
        entries.setdefault(reference.cache_name, LayoutEntry(reference, root, named))
    return tuple(entries.values())


def repository_of(directory: str) -> str:
    """Make a repository's name of that of a directory."""
    name = directory.lower()[:_LONGEST_DIRECTORY]
    try:
        return Reference(_NO_REGISTRY, name).repository
    except InvalidValue:
        return _NOT_OF_A_NAME.sub("-", name).strip("-") or "layout"


def _layout_name(root: Descriptor, repository: str) -> Reference | None:
    short = root.annotations.get(REF_NAME, "")
    if _TAG.fullmatch(short):
        short = f"{_NO_REGISTRY}/{repository}:{short}"
    for name in (root.annotations.get(_FULL_NAME, ""), short):
        try:
            return Reference.parse(name)
        except InvalidValue:
            continue
    return None
