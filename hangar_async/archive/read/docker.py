"""A docker-archive, as `docker save` and others write it, shown as an OCI image layout.

It has no manifests, so one is made of each image. A layer that is a plain tar is compressed by gzip, with the same
bytes each time, while it is read; nothing is written to the disk.
Sources: moby's image/spec, "Combined Image JSON + Filesystem Changeset Format"; containers/image,
docker/internal/tarfile.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain

import msgspec

from hangar_async import oci
from hangar_async.archive import formats
from hangar_async.errors import ContentError
from hangar_async.layout.files import INDEX_NAME, Layout, LayoutFile, LayoutReader, blob_name
from hangar_async.layout.foreign import MANIFEST_NAME, ForeignLayout, index_of, seekable, small_file
from hangar_async.oci.manifest import MAX_LAYERS
from hangar_async.threads import Pool

_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_LAYER = "application/vnd.oci.image.layer.v1.tar"
_FULL_NAME = "io.containerd.image.name"
#: The bytes of the list of the images.
_MAX_LIST = 16 << 20
#: Layers that are compressed at once where each can be read by itself.
_AT_ONCE = 4
_MOST_LINKS = 40
_HEX = re.compile(r"[0-9a-f]{64}")
_ADVICE = "get the archive again: save the image once more, and copy it here"


class _ImageJson(msgspec.Struct):
    Config: str
    Layers: list[str] | None = None
    RepoTags: list[str] | None = None


class _RootfsJson(msgspec.Struct):
    diff_ids: list[str] | None = None


class _ConfigJson(msgspec.Struct):
    rootfs: _RootfsJson | None = None


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer as it is pushed: its descriptor, and the digest of its file in the archive."""

    descriptor: oci.Descriptor
    stored: oci.Digest
    is_packed: bool


class DockerLayout(ForeignLayout):
    """The images of a docker-archive; `packed` are the layers that are compressed while they are read, with sizes."""

    def __init__(self, base: Layout, title: str, names: Mapping[str, str], packed: Mapping[str, int]) -> None:
        super().__init__(base, title, names)
        self._packed = packed
        self._sizes.update(packed)

    def open(self, name: str, start: int = 0) -> LayoutReader:
        """Open the file of this name at byte `start`; what is before it is compressed and dropped."""
        if name not in self._packed:
            return super().open(name, start)
        return _PackedReader(seekable(self.base).open(self._names[name]), start)

    def _shown(self, name: str, file: LayoutFile) -> LayoutFile:
        shown = super()._shown(name, file)
        if name not in self._packed:
            return shown
        return LayoutFile(name, self._packed[name], shown.digest, formats.gzip_pieces(file.pieces))


class _PackedReader:
    """The compressed content of a file from byte `start` on."""

    def __init__(self, source: LayoutReader, start: int) -> None:
        self._source = source
        self.identity = source.identity
        self._pieces = formats.gzip_pieces(oci.read_pieces(source, memoryview(bytearray(oci.PIECE))))
        self._piece = memoryview(b"")
        self._skip = start

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill a part of a buffer; 0 at the end."""
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._piece = memoryview(piece)[self._skip :]
            self._skip = max(0, self._skip - len(piece))
        count = min(len(buffer), len(self._piece))
        buffer[:count] = self._piece[:count]
        self._piece = self._piece[count:]
        return count

    def check(self) -> None:
        """Raise ArchiveError or StorageError where the file on the disk is no longer the one that was opened."""
        self._source.check()

    def close(self) -> None:
        """Close the file; may be called again."""
        self._source.close()


def docker_layout(
    base: Layout, title: str, links: Mapping[str, str], check_interrupted: Callable[[], None] = lambda: None
) -> Layout | None:
    """Show a docker-archive; None for any other form.

    All layers are read, to know the digests by which they are pushed. `links` are those in the archive, with their
    targets. `check_interrupted` is called between pieces. Raises ContentError where its list of images, or what this
    names, cannot be read.
    """
    if MANIFEST_NAME not in base.sizes():
        return None
    raw = small_file(base, MANIFEST_NAME, _MAX_LIST)
    if not raw.lstrip().startswith(b"["):
        return None
    try:
        images = oci.decode_json(raw, list[_ImageJson])
    except ValueError as error:
        raise ContentError(f"{MANIFEST_NAME} cannot be read: {error}", advice=_ADVICE) from error
    return _Builder(base, title, links, check_interrupted).build(images)


class _Builder:
    def __init__(
        self, base: Layout, title: str, links: Mapping[str, str], check_interrupted: Callable[[], None]
    ) -> None:
        self._base = base
        self._title = title
        self._links = links
        self._check_interrupted = check_interrupted

    def build(self, images: Sequence[_ImageJson]) -> DockerLayout:
        """Make the layout; raises ContentError."""
        budget = oci.EntryBudget()
        for image in images:
            budget.spend(len(image.Layers or ()) + len(image.RepoTags or ()))
        configs = [self._find(image.Config) for image in images]
        files = [[self._find(name) for name in image.Layers or ()] for image in images]
        layers = self._read_layers(list(dict.fromkeys(chain.from_iterable(files))))
        packed = {
            blob_name(layer.descriptor.digest): layer.descriptor.size for layer in layers.values() if layer.is_packed
        }
        names = {blob_name(layer.descriptor.digest): name for name, layer in layers.items()}
        layout = DockerLayout(self._base, self._title, names, packed)
        entries = [
            entry
            for image, config, stored in zip(images, configs, files, strict=True)
            for entry in _add(layout, image, config, small_file(self._base, config), [layers[name] for name in stored])
        ]
        layout.make(INDEX_NAME, index_of(entries))
        return layout

    def _find(self, name: str) -> str:
        """Return the name of a file, which links may lead to; raises ContentError for one that is not there."""
        path, sizes = posixpath.normpath(name), self._base.sizes()
        for _ in range(_MOST_LINKS):
            if path in sizes:
                return path
            target = self._links.get(path)
            if target is None:
                break
            path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        raise ContentError(f"{name[:200]!r}, which {MANIFEST_NAME} names, is not in {self._title}", advice=_ADVICE)

    def _read_layers(self, names: list[str]) -> dict[str, _Layer]:
        """Read all layers, each once: side by side where each can be opened, else in stored order."""
        if not self._base.is_seekable:
            return {file.name: _layer(self._checked(file.pieces)) for file in self._base.files(names)}
        pool = Pool("layers", _AT_ONCE)
        try:
            layers = [pool.submit(partial(self._read_layer, name)) for name in names]
            return {name: layer.result() for name, layer in zip(names, layers, strict=True)}
        finally:
            pool.shutdown()

    def _read_layer(self, name: str) -> _Layer:
        with closing(seekable(self._base).open(name)) as reader:
            return _layer(self._checked(oci.read_pieces(reader, memoryview(bytearray(oci.PIECE)))))

    def _checked(self, pieces: oci.Pieces) -> oci.Pieces:
        for piece in pieces:
            self._check_interrupted()
            yield piece


def _layer(pieces: oci.Pieces) -> _Layer:
    """Read a layer: one that is compressed stays as it is, any other is compressed."""
    first = bytes(next(pieces, b""))
    compression = next((name for magic, name in formats.MAGIC.items() if first.startswith(magic)), None)
    stored, packed, size = hashlib.sha256(), hashlib.sha256(), 0

    def hashed() -> oci.Pieces:
        for piece in chain([first] if first else [], pieces):
            stored.update(piece)
            yield piece

    for piece in hashed() if compression else formats.gzip_pieces(hashed()):
        size += len(piece)
        if not compression:
            packed.update(piece)
    digest = oci.Digest("sha256", stored.hexdigest())
    pushed = digest if compression else oci.Digest("sha256", packed.hexdigest())
    descriptor = oci.Descriptor(f"{_LAYER}+{compression or formats.GZIP}", pushed, size)
    return _Layer(descriptor, digest, not compression)


def _add(
    layout: DockerLayout, image: _ImageJson, config_name: str, config: bytes, layers: Sequence[_Layer]
) -> Iterator[dict[str, object]]:
    """Add an image to a layout, and yield its entries for `index.json`: one for each name, or one without."""
    digest = oci.Digest.of(config)
    expected = _HEX.search(config_name)
    if expected is not None and expected[0] != digest.hex:
        raise ContentError(f"{config_name[:200]} is damaged: its bytes have the digest {digest}", advice=_ADVICE)
    _check_layers(layout, config_name, config, layers)
    layout.make(blob_name(digest), config)
    descriptor = oci.Descriptor(_OCI_CONFIG, digest, len(config))
    fields = {
        "schemaVersion": 2,
        "mediaType": oci.media_types.OCI_MANIFEST,
        "config": descriptor.to_json(),
        "layers": [layer.descriptor.to_json() for layer in layers],
    }
    raw = msgspec.json.encode(fields)
    root = oci.parse_manifest(raw).descriptor
    layout.make(blob_name(root.digest), raw)
    for tag in image.RepoTags or [""]:
        yield root.to_json({_FULL_NAME: tag} if tag else {})


def _check_layers(layout: DockerLayout, name: str, config: bytes, layers: Sequence[_Layer]) -> None:
    """Compare the layers with the digests in the config; those that differ are damaged. Raises ContentError."""
    try:
        rootfs = oci.decode_json(config, _ConfigJson).rootfs or _RootfsJson()
    except ValueError as error:
        raise ContentError(f"{name[:200]} cannot be read: {error}", advice=_ADVICE) from error
    expected = rootfs.diff_ids or []
    if len(expected) != len(layers) or len(layers) > MAX_LAYERS:
        raise ContentError(
            f"{name[:200]} has {len(expected)} layers, and {MANIFEST_NAME} {len(layers)}", advice=_ADVICE
        )
    for layer, diff in zip(layers, expected, strict=True):
        if layer.is_packed and diff != str(layer.stored):
            problem = f"layer {diff[:80]} is damaged: its bytes have the digest {layer.stored}"
            layout.damage[layer.descriptor.digest] = problem
