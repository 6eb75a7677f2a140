"""The index files of a cache or layout: bytes to values, checked before they are used."""

import re
from dataclasses import dataclass

import msgspec

from hangar_async import oci
from hangar_async.errors import ContentError, InvalidValue
from hangar_async.layout.files import (
    INDEX_NAME,
    LIST_NAME,
    LIST_VERSION,
    LISTED_NAME,
    ORIGINAL_DIGEST,
    SUBJECT_DIGEST,
)
from hangar_async.layout.limits import most_list_bytes
from hangar_async.oci.manifest import MOST_VALUES

_FOLDER = re.compile(r"[a-f0-9]{64}")
#: The longest time and the longest name of a list that are taken.
_LONGEST = 200
_LONGEST_NAME = 1000
_KINDS = oci.media_types.MANIFESTS | oci.media_types.INDEXES | {""}


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

    images: tuple[oci.Image, ...]
    saved: str


def parse_list(raw: bytes, most: int = MOST_VALUES) -> SavedList:
    """Read `saved-images-list.json`, of at most `most` values; raises ContentError.

    An image, or a platform of it, that is listed twice counts once.
    """
    try:
        document = oci.decode_json(raw, _ListJson, most)
    except ValueError as error:
        raise ContentError(f"{LIST_NAME} cannot be read: {error}") from error
    if document.Version != LIST_VERSION:
        version = document.Version[:_LONGEST]
        raise ContentError(f"{LIST_NAME} has the version {version!r}, and only {LIST_VERSION!r} can be read")
    images: dict[str, tuple[oci.Reference, dict[str, oci.ImagePlatform]]] = {}
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
    listed = tuple(oci.Image(reference, None, tuple(platforms.values())) for reference, platforms in images.values())
    return SavedList(listed, document.SavedTime)


def parse_index(raw: bytes, most: int = MOST_VALUES) -> tuple[oci.Image, ...]:
    """Read the `index.json` of a cache: the images whose name is a reference, without their platforms.

    Raises ContentError, also where two images have one name, or it has more than `most` values.
    """
    images: dict[str, oci.Image] = {}
    for entry in _index(raw, INDEX_NAME, most=most).manifests:
        try:
            reference = oci.Reference.parse(entry.annotations.get(oci.REF_NAME, ""))
            subject = _digest_of(entry, SUBJECT_DIGEST)
            listed = entry.annotations.get(LISTED_NAME)
            image = oci.Image(
                reference,
                entry,
                (),
                original=_digest_of(entry, ORIGINAL_DIGEST),
                attachment=None if subject is None else oci.Attachment.of(subject, reference, None),
                listed=oci.Reference.parse(listed[:_LONGEST_NAME]) if listed else None,
            )
        except InvalidValue:
            continue
        if images.setdefault(reference.cache_name, image) != image:
            raise ContentError(f"{INDEX_NAME} names {reference.cache_name} twice")
    return tuple(images.values())


def _digest_of(entry: oci.Descriptor, annotation: str) -> oci.Digest | None:
    text = entry.annotations.get(annotation)
    return oci.Digest.parse(text) if text else None


def parse_folder(raw: bytes, folder: str) -> oci.Descriptor:
    """Read the `index.json` of one image folder: its one manifest. Raises ContentError."""
    manifests = _index(raw, f"{folder}/{INDEX_NAME}").manifests
    if len(manifests) != 1:
        raise ContentError(f"{folder}/{INDEX_NAME} names {len(manifests)} manifests instead of one")
    return manifests[0]


def _listed_reference(entry: _EntryJson) -> oci.Reference:
    text = f"{entry.Source}:{entry.Tag}"
    if len(text) > _LONGEST_NAME:
        raise InvalidValue(f"{text[:80]!r}... is longer than {_LONGEST_NAME} characters")
    return oci.Reference.parse(text)


def _listed_platform(image: _ImageJson) -> oci.ImagePlatform:
    if not _FOLDER.fullmatch(image.Folder):
        raise InvalidValue(f"{image.Folder[:80]!r} is not the name of a folder: 64 of the characters 0-9 a-f")
    platform = oci.Platform(image.OS, image.Arch, image.Variant or "", image.OsVersion or "")
    return oci.ImagePlatform(oci.Descriptor("", oci.Digest.parse(image.Digest), 0, platform), image.Folder)


def _check_time(text: str) -> None:
    if len(text) > _LONGEST or not text.isprintable():
        raise InvalidValue(f"{text[:80]!r} is no time")


def _index(raw: bytes, name: str, content_type: str = "", most: int = MOST_VALUES) -> oci.Index:
    try:
        document = oci.parse_manifest(raw, content_type, limit=most_list_bytes(most), entries=most)
    except ContentError as error:
        raise ContentError(f"{name}: {error}") from error
    if not isinstance(document, oci.Index):
        raise ContentError(f"{name} is no index")
    return document


def parse_layout_index(raw: bytes, most: int = MOST_VALUES) -> tuple[oci.Descriptor, ...]:
    """Read the `index.json` of an OCI image layout: its manifests and indexes; raises ContentError.

    Entries that are neither are passed over.
    """
    entries = _index(raw, INDEX_NAME, oci.media_types.OCI_INDEX, most).manifests
    return tuple(entry for entry in entries if entry.media_type in _KINDS)
