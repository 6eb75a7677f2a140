"""A docker-archive, as `docker save` and others write it, shown as an OCI image layout.

It has no manifests, so one is made of each image. A layer that is a plain tar is compressed by gzip, with the same
bytes each time: once where a store keeps it, else whenever it is read.
Sources: moby's image/spec, "Combined Image JSON + Filesystem Changeset Format"; containers/image,
docker/internal/tarfile.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from hangar_async import oci
from hangar_async.archive import formats
from hangar_async.archive.read.docker_layers import Layer, LayerStore, PieceReader, read_layer
from hangar_async.errors import ContentError
from hangar_async.layout.directory import FileReader
from hangar_async.layout.files import INDEX_NAME, Layout, LayoutFile, LayoutReader, blob_name, named_digest
from hangar_async.layout.foreign import MANIFEST_NAME, ForeignLayout, index_of, seekable, small_file
from hangar_async.oci.manifest import MAX_LAYERS
from hangar_async.threads import Pool

if TYPE_CHECKING:
    from hangar_async.archive.read.docker_old import OldImage

_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
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


class DockerLayout(ForeignLayout):
    """The images of a docker-archive; `layers` are those of its files, by the names of these.

    It is seekable where the archive is, or all layers are kept.
    """

    def __init__(self, base: Layout, title: str, layers: Mapping[str, Layer]) -> None:
        by_name = {blob_name(layer.descriptor.digest): layer for layer in layers.values()}
        super().__init__(base, title, {blob_name(layer.descriptor.digest): name for name, layer in layers.items()})
        self._sizes.update((name, layer.descriptor.size) for name, layer in by_name.items())
        self._packed = {name for name, layer in by_name.items() if layer.packed}
        self._kept = {name: layer.kept for name, layer in by_name.items() if layer.kept is not None}
        self.is_seekable = base.is_seekable or self._kept.keys() == by_name.keys()

    def files(self, names: Collection[str] | None = None) -> Iterator[LayoutFile]:
        """Read the files of these names that exist, or all: those that were made or kept, then the others."""
        chosen = self._sizes.keys() if names is None else self._sizes.keys() & set(names)
        for name in [name for name in self._kept if name in chosen]:
            with closing(FileReader(self._kept[name])) as reader:
                pieces = oci.read_pieces(reader, memoryview(bytearray(oci.PIECE)))
                yield LayoutFile(name, self._sizes[name], named_digest(name), pieces)
        yield from super().files(chosen - self._kept.keys())

    def open(self, name: str, start: int = 0) -> LayoutReader:
        """Open the file of this name at byte `start`; of one that is not kept, what is before it is compressed too."""
        if name in self._kept:
            return FileReader(self._kept[name], start)
        if name not in self._packed:
            return super().open(name, start)
        return _PackedReader(seekable(self.base).open(self._names[name]), start)

    def _shown(self, name: str, file: LayoutFile) -> LayoutFile:
        pieces = formats.gzip_pieces(file.pieces) if name in self._packed else file.pieces
        return LayoutFile(name, self._sizes[name], named_digest(name), pieces)


class _PackedReader(PieceReader):
    """The compressed content of a file from byte `start` on."""

    def __init__(self, source: LayoutReader, start: int) -> None:
        super().__init__(formats.gzip_pieces(oci.read_pieces(source, memoryview(bytearray(oci.PIECE)))), start)
        self._source = source
        self.identity = source.identity

    def check(self) -> None:
        """Raise ArchiveError or StorageError where the file on the disk is no longer the one that was opened."""
        self._source.check()

    def close(self) -> None:
        """Close the file; may be called again."""
        self._source.close()
        super().close()


def docker_layout(
    base: Layout,
    title: str,
    links: Mapping[str, str],
    check_interrupted: Callable[[], None] = lambda: None,
    store: LayerStore | None = None,
) -> Layout | None:
    """Show a docker-archive; None for any other form.

    All layers are read, to know the digests by which they are pushed. `links` are those in the archive, with their
    targets. `check_interrupted` is called between pieces. Raises ContentError where its list of images, or what this
    names, cannot be read.
    """
    builder = _Builder(base, title, links, check_interrupted, store)
    if MANIFEST_NAME not in base.sizes():
        # Imported late: hardly any archive is so old.
        from hangar_async.archive.read.docker_old import old_images

        old = old_images(base)
        return builder.build_old(old) if old else None
    raw = small_file(base, MANIFEST_NAME, _MAX_LIST)
    if not raw.lstrip().startswith(b"["):
        return None
    try:
        images = oci.decode_json(raw, list[_ImageJson])
    except ValueError as error:
        raise ContentError(f"{MANIFEST_NAME} cannot be read: {error}", advice=_ADVICE) from error
    return builder.build(images)


class _Builder:
    def __init__(
        self,
        base: Layout,
        title: str,
        links: Mapping[str, str],
        check_interrupted: Callable[[], None],
        store: LayerStore | None,
    ) -> None:
        self._base = base
        self._title = title
        self._links = links
        self._check_interrupted = check_interrupted
        self._store = store

    def build(self, images: Sequence[_ImageJson]) -> DockerLayout:
        """Make the layout; raises ContentError."""
        budget = oci.EntryBudget()
        for image in images:
            budget.spend(len(image.Layers or ()) + len(image.RepoTags or ()))
        configs = [self._find(image.Config) for image in images]
        files = [[self._find(name) for name in image.Layers or ()] for image in images]
        layers = self._read_layers(list(dict.fromkeys(chain.from_iterable(files))))
        layout = DockerLayout(self._base, self._title, layers)
        entries = [
            entry
            for image, config, stored in zip(images, configs, files, strict=True)
            for entry in _add(layout, image, config, small_file(self._base, config), [layers[name] for name in stored])
        ]
        layout.make(INDEX_NAME, index_of(entries))
        return layout

    def build_old(self, images: Sequence[OldImage]) -> DockerLayout:
        """Make the layout of images that have no config; raises ContentError."""
        layers = self._read_layers(list(dict.fromkeys(chain.from_iterable(image.layers for image in images))))
        layout = DockerLayout(self._base, self._title, layers)
        entries: list[dict[str, object]] = []
        for image in images:
            stored = [layers[name] for name in image.layers]
            config = image.config([layer.diff_id for layer in stored])
            entries += _add(layout, _ImageJson("", RepoTags=list(image.tags)), "its config", config, stored)
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

    def _read_layers(self, names: list[str]) -> dict[str, Layer]:
        """Read all layers, each once: side by side where each can be opened, else in stored order."""
        if not self._base.is_seekable:
            layers = {file.name: self._read(file.pieces, keep_all=True) for file in self._base.files(names)}
            # One pass over the archive brings some of them as well as all.
            is_whole = all(layer.kept is not None for layer in layers.values())
            return layers if is_whole else {name: self._dropped(layer) for name, layer in layers.items()}
        pool = Pool("layers", _AT_ONCE)
        try:
            pending = [pool.submit(partial(self._read_alone, name)) for name in names]
            return {name: layer.result() for name, layer in zip(names, pending, strict=True)}
        finally:
            pool.shutdown()

    def _read_alone(self, name: str) -> Layer:
        with closing(seekable(self._base).open(name)) as reader:
            return self._read(oci.read_pieces(reader, memoryview(bytearray(oci.PIECE))))

    def _read(self, pieces: oci.Pieces, *, keep_all: bool = False) -> Layer:
        return read_layer(pieces, self._check_interrupted, self._store, keep_all=keep_all)

    def _dropped(self, layer: Layer) -> Layer:
        if self._store is not None:
            self._store.forget(layer)
        return replace(layer, kept=None)


def _add(
    layout: DockerLayout, image: _ImageJson, config_name: str, config: bytes, layers: Sequence[Layer]
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


def _check_layers(layout: DockerLayout, name: str, config: bytes, layers: Sequence[Layer]) -> None:
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
        if layer.diff_id is not None and diff != layer.diff_id:
            problem = f"its bytes have the digest {layer.diff_id}" if layer.diff_id else "it cannot be unpacked"
            layout.damage[layer.descriptor.digest] = f"layer {diff[:80]} is damaged: {problem}"
