"""The files of a layout: interfaces to read them, and the names and bytes of those of a cache directory."""

import hashlib
from collections.abc import Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import msgspec

from hangar_async.errors import InvalidValue
from hangar_async.oci import REF_NAME, Digest, Image, ImagePlatform, Pieces, Platform, Reader, Reference

#: The directory's own name, in the working directory and as the first component of every name in an archive.
CACHE_NAME = "saved-image-cache"
SHARE = "share"
LIST_NAME = "saved-images-list.json"
INDEX_NAME = "index.json"
MARKER_NAME = "oci-layout"
BLOBS = "blobs"
#: Hangar's own `load` refuses any other version of its list.
LIST_VERSION = "v1.1.0"
#: Annotation of a partial index in `index.json`: the digest of the index that the registry served.
ORIGINAL_DIGEST = "io.hangar-async.original.digest"
#: Annotation of a referrer in `index.json`: the digest of its subject, in the same repository.
SUBJECT_DIGEST = "io.hangar-async.subject.digest"
#: Annotation of an image in `index.json` that was saved from another registry than its line of the list names.
LISTED_NAME = "io.hangar-async.list.name"
#: The content of `oci-layout` (image-spec, image-layout.md).
MARKER = b'{"imageLayoutVersion":"1.0.0"}\n'
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
#: The bytes of a piece of an index file, at least.
_PIECE = 1 << 18


def blob_name(digest: Digest) -> str:
    """Return the path of a blob, relative to the cache directory."""
    return f"{SHARE}/{digest.algorithm}/{digest.hex}"


def folder_names(reference: Reference, manifests: Sequence[tuple[Digest, Platform]]) -> list[str]:
    """Name the folders of the manifests of an image, in index order.

    A folder is the SHA-256 of `REGISTRY/REPO:TAG-PLATFORM`; of two that would be equal the later gets the first 12
    characters of its digest appended before hashing.
    """
    names: list[str] = []
    known: set[str] = set()
    for digest, platform in manifests:
        text = f"{reference.cache_name}-{platform.suffix}"
        name = hashlib.sha256(text.encode()).hexdigest()
        if name in known:
            name = hashlib.sha256(f"{text}-{digest.short}".encode()).hexdigest()
        known.add(name)
        names.append(name)
    return names


def folder_files(platform: ImagePlatform) -> dict[str, bytes]:
    """Make the files of one image folder, by their names relative to the cache directory, in their order."""
    index = _dump({"schemaVersion": 2, "manifests": [platform.descriptor.to_json()]})
    return {f"{platform.folder}/{MARKER_NAME}": MARKER, f"{platform.folder}/{INDEX_NAME}": index}


def cache_files(images: Sequence[Image], saved: datetime) -> dict[str, bytes]:
    """Make the files of the cache directory as a whole, by their names, in their order."""
    index, saved_list = _documents(saved)
    index["manifests"] = [*_index_entries(images)]
    saved_list["List"] = [*_list_entries(images)]
    return {MARKER_NAME: MARKER, INDEX_NAME: _dump(index), LIST_NAME: _dump(saved_list)}


def cache_pieces(images: Sequence[Image], saved: datetime) -> dict[str, Iterator[bytes]]:
    """Make the same files in pieces, for more images than memory should hold: each file goes through them once."""
    index, saved_list = _documents(saved)
    return {
        MARKER_NAME: iter([MARKER]),
        INDEX_NAME: _dump_list(index, "manifests", _index_entries(images)),
        LIST_NAME: _dump_list(saved_list, "List", _list_entries(images)),
    }


def _documents(saved: datetime) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return both index files without an image."""
    stamp = saved.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"schemaVersion": 2, "manifests": []}, {"List": [], "Version": LIST_VERSION, "SavedTime": stamp}


def _index_entries(images: Iterable[Image]) -> Iterator[dict[str, Any]]:
    # Each image once, by name (image-spec, image-layout.md, "index.json file").
    for image in images:
        annotations = {REF_NAME: image.reference.layout_name}
        if image.original is not None:
            annotations[ORIGINAL_DIGEST] = str(image.original)
        if image.attachment is not None:
            annotations[SUBJECT_DIGEST] = str(image.attachment.subject)
        if image.listed is not None:
            annotations[LISTED_NAME] = str(image.listed)
        assert image.root is not None  # noqa: S101 - every image that is saved has one
        yield image.root.to_json(annotations)


def _list_entries(images: Iterable[Image]) -> Iterator[dict[str, Any]]:
    for image in images:
        if not image.platforms:
            continue  # `index.json` alone names it
        platforms = [
            {
                "Digest": str(item.descriptor.digest),
                "Arch": item.platform.architecture,
                "OS": item.platform.os,
                "OsVersion": item.platform.os_version,
                "Variant": item.platform.variant,
                "Folder": item.folder,
            }
            for item in image.platforms
        ]
        yield {
            "Source": image.reference.name,
            "Tag": image.reference.cache_tag,
            "ArchList": list(dict.fromkeys(item["Arch"] for item in platforms)),
            "Images": platforms,
        }


def newest(created: Iterable[str]) -> datetime:
    """Return the latest of these RFC 3339 times that can be read and is after 1970; else 1970."""
    latest = EPOCH
    for text in created:
        try:
            moment = datetime.fromisoformat(text)
            if moment.tzinfo is not None:
                latest = max(latest, moment.astimezone(UTC))
        except (ValueError, OverflowError):
            continue
    return latest


def _dump(document: dict[str, Any]) -> bytes:
    # The same bytes as of json.dumps, whose indenting is not compiled.
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _dump_list(document: dict[str, Any], key: str, entries: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Write a document as `_dump` does, in pieces of some size, with these entries in the empty list `key`."""
    start, end = _dump(document).split(b'"%b": []' % key.encode())
    start += b'"%b": [' % key.encode()
    piece, separator, last = bytearray(start), b"\n    ", b"]"
    for entry in entries:
        piece += separator + _dump(entry)[:-1].replace(b"\n", b"\n    ")
        separator, last = b",\n    ", b"\n  ]"
        if len(piece) >= _PIECE:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + last + end)


@dataclass(frozen=True, slots=True)
class LayoutFile:
    """One file of a layout: its name relative to the cache directory, its size in bytes, its content to be read once.

    `digest` is the expected digest, None where nothing names one. The reader of `pieces`, of about 1 MiB, checks digest
    and size.
    """

    name: str
    size: int
    digest: Digest | None
    pieces: Pieces


class Layout(Protocol):
    """The files of a cache or of an OCI image layout; synchronous, for a thread.

    Names are relative to the cache directory. Nothing that is read is checked yet. All methods raise ArchiveError or
    StorageError.
    """

    #: True for a SeekableLayout.
    is_seekable: bool

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every regular file, by its name, in stored order."""
        ...

    def stored_size(self) -> int:
        """Return the bytes that its files really take, whatever it claims; the bounds of its images grow with them."""
        ...

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all, in stored order."""
        ...


class LayoutReader(Reader, Protocol):
    """The content of one file from a byte on, for one thread at a time; the caller that opened it closes it.

    All methods raise ArchiveError or StorageError.
    """

    #: Equal for two readers of one file that has not changed in between.
    identity: Hashable

    def check(self) -> None:
        """Raise ArchiveError or StorageError where the file on the disk is no longer the one that was opened."""
        ...

    def close(self) -> None:
        """Close the file; may be called again."""
        ...


class SeekableLayout(Layout, Protocol):
    """A layout that can open any of its files at any byte, in any number of threads.

    An archive without index has no `open`.
    """

    def open(self, name: str, start: int = 0) -> LayoutReader:
        """Open the file of this name, which `sizes` has, at byte `start`."""
        ...


def named_digest(name: str) -> Digest | None:
    """Return the digest that the name of a blob states; None for a file that is no blob."""
    folder, _, rest = name.partition("/")
    if folder != SHARE:
        return None
    try:
        return Digest.parse(rest.replace("/", ":", 1))
    except InvalidValue:
        return None
