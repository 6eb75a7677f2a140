"""The index files of a cache or layout: bytes to values, checked before they are used."""

import re
from dataclasses import dataclass

import msgspec

from hangar_async.errors import ContentError, InvalidValue
from hangar_async.layout.files import INDEX_NAME, LIST_NAME, LIST_VERSION, ORIGINAL_DIGEST
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import REF_NAME, Descriptor, Index, decode_json, parse_manifest
from hangar_async.oci.platform import Platform
from hangar_async.oci.reference import Reference

#: Larger index files are refused: a list of sixty thousand platforms is about 18 MB.
MAX_INDEX = 64 << 20
_FOLDER = re.compile(r"[a-f0-9]{64}")
#: The longest time and the longest name of a list that are taken.
_LONGEST = 200
_LONGEST_NAME = 1000
#: The full name, as containerd, BuildKit and `docker save` write it.
_FULL_NAME = "io.containerd.image.name"
#: The registry of images that have no other.
_NO_REGISTRY = "localhost"
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_NOT_OF_A_NAME = re.compile(r"[^a-z0-9]+")
_LONGEST_DIRECTORY = 100
_KINDS = media_types.MANIFESTS | media_types.INDEXES | {""}


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
class SavedList:
    """The content of `saved-images-list.json`: its images, without their roots, and its time as it is written there."""

    images: tuple[Image, ...]
    saved: str


def parse_list(raw: bytes) -> SavedList:
    """Read `saved-images-list.json`; raises ContentError.

    An image, or a platform of it, that is listed twice counts once.
    """
    try:
        document = decode_json(raw, _ListJson)
    except ValueError as error:
        raise ContentError(f"{LIST_NAME} cannot be read: {error}") from error
    if document.Version != LIST_VERSION:
        version = document.Version[:_LONGEST]
        raise ContentError(f"{LIST_NAME} has the version {version!r}, and only {LIST_VERSION!r} can be read")
    images: dict[str, tuple[Reference, dict[str, ImagePlatform]]] = {}
    try:
        _check_time(document.SavedTime)
        for entry in document.List or ():
            reference = _listed_reference(entry)
            platforms = images.setdefault(reference.cache_name, (reference, {}))[1]
            for image in entry.Images or ():
                platform = _listed_platform(image)
                if platforms.setdefault(platform.folder, platform) != platform:
                    raise InvalidValue(f"two platforms of one image have the folder {platform.folder}")
    except InvalidValue as error:
        raise ContentError(f"{LIST_NAME}: {error}") from error
    listed = tuple(Image(reference, None, tuple(platforms.values())) for reference, platforms in images.values())
    return SavedList(listed, document.SavedTime)


def parse_index(raw: bytes) -> tuple[Image, ...]:
    """Read the `index.json` of a cache: the images whose name is a reference, without their platforms.

    Raises ContentError, also where two images have one name.
    """
    images: dict[str, Image] = {}
    for entry in _index(raw, INDEX_NAME).manifests:
        try:
            reference = Reference.parse(entry.annotations.get(REF_NAME, ""))
            original = entry.annotations.get(ORIGINAL_DIGEST)
            image = Image(reference, entry, (), original=Digest.parse(original) if original else None)
        except InvalidValue:
            continue
        if images.setdefault(reference.cache_name, image) != image:
            raise ContentError(f"{INDEX_NAME} names {reference.cache_name} twice")
    return tuple(images.values())


def parse_folder(raw: bytes, folder: str) -> Descriptor:
    """Read the `index.json` of one image folder: its one manifest. Raises ContentError."""
    manifests = _index(raw, f"{folder}/{INDEX_NAME}").manifests
    if len(manifests) != 1:
        raise ContentError(f"{folder}/{INDEX_NAME} names {len(manifests)} manifests instead of one")
    return manifests[0]


def _listed_reference(entry: _EntryJson) -> Reference:
    text = f"{entry.Source}:{entry.Tag}"
    if len(text) > _LONGEST_NAME:
        raise InvalidValue(f"{text[:80]!r}... is longer than {_LONGEST_NAME} characters")
    return Reference.parse(text)


def _listed_platform(image: _ImageJson) -> ImagePlatform:
    if not _FOLDER.fullmatch(image.Folder):
        raise InvalidValue(f"{image.Folder[:80]!r} is not the name of a folder: 64 of the characters 0-9 a-f")
    platform = Platform(image.OS, image.Arch, image.Variant or "", image.OsVersion or "")
    return ImagePlatform(Descriptor("", Digest.parse(image.Digest), 0, platform), image.Folder)


def _check_time(text: str) -> None:
    if len(text) > _LONGEST or not text.isprintable():
        raise InvalidValue(f"{text[:80]!r} is no time")


def _index(raw: bytes, name: str, content_type: str = "") -> Index:
    try:
        document = parse_manifest(raw, content_type, limit=MAX_INDEX)
    except ContentError as error:
        raise ContentError(f"{name}: {error}") from error
    if not isinstance(document, Index):
        raise ContentError(f"{name} is no index")
    return document


def parse_layout_index(raw: bytes, directory: str) -> tuple[Image, ...]:
    """Read the `index.json` of an OCI image layout in a directory of this name: its images, without their platforms.

    The name of an image is its annotation `io.containerd.image.name`, else `org.opencontainers.image.ref.name` where
    that is a reference. With a tag alone in the annotation, the name of the directory is the repository, on
    `localhost`. Of several images with one name the first has it. Entries that are neither manifest nor index are
    passed over. Raises ContentError.
    """
    images: dict[str, Image] = {}
    repository = repository_of(directory)
    for root in _index(raw, INDEX_NAME, media_types.OCI_INDEX).manifests:
        if root.media_type not in _KINDS:
            continue
        reference = _annotated_reference(root, repository)
        named = reference is not None and reference.cache_name not in images
        if reference is None or not named:
            reference = Reference(_NO_REGISTRY, repository, None, root.digest)
        images.setdefault(reference.cache_name, Image(reference, root, (), named=named))
    return tuple(images.values())


def repository_of(directory: str) -> str:
    """Make the name of a repository from the name of a directory."""
    name = directory.lower()[:_LONGEST_DIRECTORY]
    try:
        return Reference(_NO_REGISTRY, name).repository
    except InvalidValue:
        return _NOT_OF_A_NAME.sub("-", name).strip("-") or "layout"


def _annotated_reference(root: Descriptor, repository: str) -> Reference | None:
    short = root.annotations.get(REF_NAME, "")
    if _TAG.fullmatch(short):
        short = f"{_NO_REGISTRY}/{repository}:{short}"
    for name in (root.annotations.get(_FULL_NAME, ""), short):
        try:
            return Reference.parse(name)
        except InvalidValue:
            continue
    return None
