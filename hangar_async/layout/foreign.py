"""Layouts that other programs made, whatever holds them, under the names of a cache; their forms are told by content.

Sources: OCI image-spec, image-layout.md; containers/image, the "dir" transport; Hangar 1.7, its archive index.
"""

from __future__ import annotations

import io
import posixpath
from collections.abc import Collection, Hashable, Iterator, Mapping

import msgspec

from hangar_async import oci
from hangar_async.errors import ContentError
from hangar_async.layout.files import (
    BLOBS,
    INDEX_NAME,
    LIST_NAME,
    LIST_VERSION,
    MARKER_NAME,
    SHARE,
    Layout,
    LayoutFile,
    LayoutReader,
    SeekableLayout,
    blob_name,
    named_digest,
)
from hangar_async.layout.limits import most_list_bytes, most_list_values

#: The file of a `docker save`, and of a directory of skopeo.
MANIFEST_NAME = "manifest.json"
_VERSION_NAME = "version"
_VERSION = b"Directory Transport Version: 1."
_MANIFEST_ENDING = ".manifest.json"
_HANGAR_VERSION = "v1.2."
_ADVICE = "name an archive of images, one of its parts, a cache directory, or an OCI image layout"


class ShownLayout:
    """The files of another layout under names of a cache; `names` maps each name to that in `base`."""

    def __init__(self, base: Layout, names: Mapping[str, str]) -> None:
        self.base = base
        self.is_seekable = base.is_seekable
        self._names = dict(names)
        sizes = base.sizes()
        self._sizes = {name: sizes[source] for name, source in names.items()}
        self._made: dict[str, bytes] = {}

    def make(self, name: str, content: bytes) -> None:
        """Show a file that is not in the other layout; one of this name is replaced."""
        self._sizes[name] = len(content)
        self._made[name] = content

    def sizes(self) -> Mapping[str, int]:
        """Return the size in bytes of every file, by its name."""
        return self._sizes

    def stored_size(self) -> int:
        """Return the bytes that the other layout takes."""
        return self.base.stored_size()

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all: those that were made, then the others in stored order."""
        chosen = self._sizes.keys() if names is None else self._sizes.keys() & set(names)
        for name in [name for name in self._made if name in chosen]:
            yield LayoutFile(name, len(self._made[name]), named_digest(name), iter([self._made[name]]))
        stored = {self._names[name]: name for name in chosen if name not in self._made}
        for file in self.base.files(stored) if stored else ():
            yield self._shown(stored[file.name], file)

    def open(self, name: str, start: int = 0) -> LayoutReader:
        """Open the file of this name at byte `start`, where the other layout is seekable."""
        if name in self._made:
            return BytesReader(self._made[name], start)
        return seekable(self.base).open(self._names[name], start)

    def _shown(self, name: str, file: LayoutFile) -> LayoutFile:
        return LayoutFile(name, file.size, named_digest(name), file.pieces)


class ForeignLayout(ShownLayout):
    """An OCI image layout of another program; `title`, the name of its file or directory, names images without a name.

    `damage` has the problem of a blob that is known to be damaged.
    """

    def __init__(self, base: Layout, title: str, names: Mapping[str, str]) -> None:
        super().__init__(base, names)
        self.title = title
        self.damage: dict[oci.Digest, str] = {}


class BytesReader(io.BytesIO):
    """Content in memory, from byte `start` on."""

    def __init__(self, content: bytes, start: int = 0) -> None:
        super().__init__(content)
        self.identity: Hashable = content
        self.seek(start)

    def check(self) -> None:
        """Do nothing: it does not change."""


def seekable(layout: Layout) -> SeekableLayout:
    """Return a layout as one that can open any file; only for one that is seekable."""
    assert layout.is_seekable  # noqa: S101 - callers ask first
    return layout  # type: ignore[return-value]


def small_file(layout: Layout, name: str, limit: int = oci.MAX_DOCUMENT) -> bytes:
    """Return a file of a layout whole; raises ContentError for one of more than `limit` bytes."""
    size = layout.sizes()[name]
    if size > limit:
        raise ContentError(f"{name} has {size} bytes, more than the {limit} that it may have", advice=_ADVICE)
    return b"".join(bytes(piece) for file in layout.files([name]) for piece in file.pieces)


def oci_layout(base: Layout, title: str, links: Collection[str] = ()) -> Layout | None:
    """Show an OCI image layout, with or without a leading directory; None where there is none.

    Blobs that are `links`, names in it, are damaged: none is followed. Raises ContentError where there are several.
    """
    names = base.sizes()
    markers = [name for name in names if posixpath.basename(name) == MARKER_NAME]
    roots = [name.removesuffix(MARKER_NAME) for name in markers]
    roots = [root for root in roots if f"{root}{INDEX_NAME}" in names and root.count("/") <= 1]
    if not roots or any(name.startswith(f"{SHARE}/") for name in names):
        return None
    root = min(roots, key=len)
    if root and len(roots) > 1:
        message = f"there are {len(roots)} OCI image layouts in {title}: {', '.join(roots[:3])}"
        raise ContentError(message, advice="unpack it, and name one of their directories")
    start = f"{root}{BLOBS}/"
    blobs = {f"{SHARE}/{name.removeprefix(start)}": name for name in names if name.startswith(start)}
    shown = {name: source for name, source in blobs.items() if named_digest(name) is not None}
    own = {name: f"{root}{name}" for name in (MARKER_NAME, INDEX_NAME)}
    layout = ForeignLayout(base, title, {**shown, **own})
    for name in links:
        digest = named_digest(f"{SHARE}/{name.removeprefix(start)}") if name.startswith(start) else None
        if digest is not None:
            layout.damage[digest] = f"blob {digest} is a symbolic link, which is not followed: copy the files (cp -rL)"
    return layout


class _HangarImageJson(msgspec.Struct):
    digest: str
    arch: str = ""
    os: str = ""
    osVersion: str = ""  # noqa: N815 - Hangar's name
    variant: str = ""


class _HangarEntryJson(msgspec.Struct):
    source: str
    tag: str
    images: list[_HangarImageJson] | None = None


class _HangarIndexJson(msgspec.Struct):
    version: str
    entries: list[_HangarEntryJson] | None = msgspec.field(name="list", default=None)
    time: str = ""


def hangar_layout(base: Layout) -> Layout | None:
    """Show an archive of Hangar 1.7 or later as a cache of 1.6: its index is another list of images; None for others.

    Raises ContentError for an index of another version.
    """
    names = base.sizes()
    if INDEX_NAME not in names or MARKER_NAME in names or not any(name.startswith(f"{SHARE}/") for name in names):
        return None
    try:
        limit = most_list_bytes(most_list_values(base.stored_size()))
        index = oci.decode_json(small_file(base, INDEX_NAME, limit), _HangarIndexJson)
    except ValueError:
        return None
    if not index.version.startswith(_HANGAR_VERSION):
        message = f"its {INDEX_NAME} has the version {index.version[:40]!r}, and only {_HANGAR_VERSION}x can be read"
        raise ContentError(message, advice="make the archive with Hangar 1.6 to 1.9, or save the images again")
    layout = ShownLayout(base, {name: name for name in names if name != INDEX_NAME})
    layout.make(LIST_NAME, _list_of(index))
    return layout


def _list_of(index: _HangarIndexJson) -> bytes:
    entries = [
        {
            "Source": entry.source,
            "Tag": entry.tag,
            "Images": [
                {
                    "Digest": image.digest,
                    "Arch": image.arch,
                    "OS": image.os,
                    "OsVersion": image.osVersion,
                    "Variant": image.variant,
                    "Folder": image.digest.partition(":")[2],
                }
                for image in entry.images or ()
            ],
        }
        for entry in index.entries or ()
    ]
    return msgspec.json.encode({"List": entries, "Version": LIST_VERSION, "SavedTime": index.time})


def skopeo_layout(base: Layout, title: str) -> Layout | None:
    """Show a directory that skopeo made (`dir:`), as an OCI image layout of one image; None for any other form."""
    names = base.sizes()
    if not {_VERSION_NAME, MANIFEST_NAME} <= names.keys() or names[_VERSION_NAME] > len(_VERSION) + 10:
        return None
    if not small_file(base, _VERSION_NAME).startswith(_VERSION):
        return None
    shown = {f"{SHARE}/sha256/{name.removesuffix(_MANIFEST_ENDING)}": name for name in names}
    layout = ForeignLayout(
        base, title, {name: source for name, source in shown.items() if named_digest(name) is not None}
    )
    raw = small_file(base, MANIFEST_NAME)
    root = oci.parse_manifest(raw).descriptor
    layout.make(blob_name(root.digest), raw)
    layout.make(INDEX_NAME, index_of([root.to_json()]))
    return layout


def index_of(entries: list[dict[str, object]]) -> bytes:
    """Make the `index.json` of a layout."""
    return msgspec.json.encode({"schemaVersion": 2, "manifests": entries})
