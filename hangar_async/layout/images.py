"""The images of a layout: the contents of each, and its problems."""

import base64
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace

from hangar_async import oci
from hangar_async.errors import ContentError
from hangar_async.layout.files import INDEX_NAME, LIST_NAME, Layout, blob_name
from hangar_async.layout.foreign import ForeignLayout
from hangar_async.layout.limits import most_list_bytes, most_list_values
from hangar_async.layout.manifest_loader import ManifestLoader, read_files
from hangar_async.layout.names import name_images
from hangar_async.layout.parse import SavedList, parse_folder, parse_index, parse_layout_index, parse_list

#: The index of a folder names one manifest.
_MAX_FOLDER_INDEX = 1 << 20
_ADVICE = "get the archive or directory again; verify names everything that is damaged"


@dataclass(frozen=True, slots=True)
class LayoutImages:
    """The images of a layout in the order of their list, its time as it is written there, and all documents read."""

    images: tuple[oci.Image, ...]
    saved: str
    documents: oci.Documents


def read_images(layout: Layout) -> LayoutImages:
    """Read the images of a layout of any kind; synchronous, for a thread.

    The digests of documents are checked, blobs are only looked for. Raises ContentError when the list of the images
    cannot be read, or names too much.
    """
    try:
        return _read_oci_layout(layout) if isinstance(layout, ForeignLayout) else read_cache(layout)
    except ContentError as error:
        if error.advice == ContentError.default_advice:
            # It is about what a registry serves.
            error.advice = _ADVICE
        raise


def read_cache(layout: Layout, *, unlisted: bool = False) -> LayoutImages:
    """Read the images of a cache, as `read_images` does.

    Images that only `index.json` names are among them, in their place. With `unlisted`, the list may be absent.
    """
    most = most_list_values(layout.stored_size())
    files = dict(read_files(layout, [LIST_NAME, INDEX_NAME], most_list_bytes(most)))
    if LIST_NAME not in files and not unlisted:
        raise ContentError(
            f"there are no images in it: neither a {LIST_NAME}, nor an OCI image layout, nor a list of docker save",
            advice="name an archive of images, its first part, a cache directory made by save, or an OCI image layout",
        )
    listed = parse_list(_checked(files[LIST_NAME]), most) if LIST_NAME in files else SavedList((), "")
    indexed = parse_index(_checked(files[INDEX_NAME]), most) if INDEX_NAME in files else None
    roots = {image.name: image for image in indexed or ()}
    loader = ManifestLoader(layout)
    folders = _read_folders(layout, listed.images)
    loader.load(
        [image.root for image in roots.values() if image.root is not None]
        + [loader.describe(image.original) for image in roots.values() if image.original is not None]
        + [folder for folder in folders.values() if isinstance(folder, oci.Descriptor)]
    )
    images = [
        _CacheImage(loader, image, roots.get(image.name), indexed is not None, folders).build()
        for image in listed.images
    ]
    names = {image.name for image in images}
    images += [_unlisted_image(loader, root) for name, root in roots.items() if name not in names]
    order = {name: number for number, name in enumerate(roots)}
    images.sort(key=lambda image: order.get(image.name, len(order)))
    return LayoutImages(tuple(images), listed.saved, loader.documents)


def _checked(content: bytes | ContentError) -> bytes:
    if isinstance(content, ContentError):
        raise content
    return content


def _read_folders(layout: Layout, listed: Iterable[oci.Image]) -> dict[str, oci.Descriptor | str]:
    """Read the layouts of all platforms: the descriptor of the manifest, or the problem."""
    names = {f"{platform.folder}/{INDEX_NAME}": platform.folder for image in listed for platform in image.platforms}
    folders: dict[str, oci.Descriptor | str] = {folder: f"{name} is missing" for name, folder in names.items()}
    for name, content in read_files(layout, names, _MAX_FOLDER_INDEX):
        try:
            folders[names[name]] = parse_folder(_checked(content), names[name])
        except ContentError as error:
            folders[names[name]] = str(error)
    return folders


class _ImageBuilder:
    """Gathers the contents of one image, each digest once, and its problems."""

    def __init__(self, loader: ManifestLoader) -> None:
        self.contents: dict[oci.Digest, oci.Descriptor] = {}
        self.problems: dict[str, None] = {}
        self._loader = loader
        self._walked: set[oci.Digest] = set()

    def add(self, root: oci.Descriptor) -> int:
        """Add a document and everything below it, and return the number of bytes.

        A manifest that was added with an index costs no second walk.
        """
        if root.digest in self._walked and (size := self._loader.blobs_size(root.digest)) is not None:
            return root.size + size
        sizes: dict[oci.Digest, int] = {}
        try:
            for descriptor, document, is_blob in oci.walk(root, self._loader.documents, self._loader.budget):
                sizes[descriptor.digest] = descriptor.size
                if document is not None:
                    self._walked.add(descriptor.digest)
                self.contents.setdefault(descriptor.digest, descriptor)
                if document is None and not is_blob:
                    self.problems[self._loader.damaged[descriptor.digest]] = None
        except ContentError as error:
            if not error.digest:
                raise  # too many entries, in all images together
            self.problems[str(error)] = None
        return sum(sizes.values())

    def add_original(self, digest: oci.Digest) -> None:
        """Add the index that the registry served, and the indexes within it, of a partial image."""
        nodes = oci.walk(self._loader.describe(digest), self._loader.indexes, self._loader.budget)
        indexes = [node.document for node in nodes if isinstance(node.document, oci.Index)]
        if not indexes:
            self.problems[self._loader.damaged.get(digest, f"the original {digest} is no index")] = None
        for index in indexes:
            self.contents.setdefault(index.digest, index.descriptor)

    def build(self, image: oci.Image, platforms: Iterable[oci.ImagePlatform]) -> oci.Image:
        """Make the image out of its name and root, and add missing blobs to its problems."""
        sizes = self._loader.sizes
        contents = []
        for content in self.contents.values():
            size = sizes.get(blob_name(content.digest))
            if size is not None or not content.is_foreign:
                contents.append(content)
            if size is None and not content.is_foreign and content.digest not in self._loader.damaged:
                self.problems.setdefault(f"blob {content.digest} is missing", None)
            elif size is not None and size != content.size:
                self.problems[f"blob {content.digest} has {size} bytes instead of {content.size}"] = None
        return oci.Image(
            image.reference,
            image.root,
            tuple(platforms),
            tuple(contents),
            self._loader.documents,
            image.original,
            tuple(self.problems),
            image.notes,
            named=image.named,
            attachment=self._attachment(image),
            listed=image.listed,
        )

    def _attachment(self, image: oci.Image) -> oci.Attachment | None:
        """Read the type of a referrer, which only its document tells."""
        if image.attachment is None or image.root is None:
            return image.attachment
        root = self._loader.documents.get(image.root.digest)
        return oci.Attachment.of(image.attachment.subject, image.reference, root)


def _unlisted_image(loader: ManifestLoader, root: oci.Image) -> oci.Image:
    builder = _ImageBuilder(loader)
    _add_root(builder, root)
    # Its list names the platforms of images, so none without any, and no referrer.
    if root.attachment is None and any(
        isinstance(loader.documents.get(digest), oci.Manifest) for digest in builder.contents
    ):
        builder.problems[f"{LIST_NAME} does not name it, which {INDEX_NAME} does"] = None
    return builder.build(root, ())


def _add_root(builder: _ImageBuilder, root: oci.Image) -> None:
    if root.root is not None:
        builder.add(root.root)
    if root.original is not None:
        builder.add_original(root.original)


@dataclass(frozen=True, slots=True)
class _CacheImage:
    """One image as the files of a cache name it: `listed` in its list, `root` in its `index.json`, if it has one."""

    loader: ManifestLoader
    listed: oci.Image
    root: oci.Image | None
    indexed: bool
    folders: Mapping[str, oci.Descriptor | str]

    def build(self) -> oci.Image:
        """Make the image."""
        builder = _ImageBuilder(self.loader)
        if self.root is not None:
            _add_root(builder, self.root)
        elif self.indexed:
            builder.problems[f"{INDEX_NAME} does not name it, which {LIST_NAME} does"] = None
        if not self.listed.platforms:
            builder.problems[f"{LIST_NAME} names no platform of it"] = None
        platforms = [self._platform(platform, builder) for platform in self.listed.platforms]
        return builder.build(self.root or self.listed, platforms)

    def _platform(self, listed: oci.ImagePlatform, builder: _ImageBuilder) -> oci.ImagePlatform:
        """Add one platform; one whose folder cannot be read is known by the list alone."""
        manifest = self.folders[listed.folder]
        if isinstance(manifest, str):
            builder.problems[manifest] = None
            return listed
        file = f"{listed.folder}/{INDEX_NAME}"
        # Hangar's list has the digest at the source; its folders may have another manifest, made from that one.
        if self.indexed and manifest.digest != listed.descriptor.digest:
            builder.problems[f"{file} names {manifest.digest}, and {LIST_NAME} {listed.descriptor.digest}"] = None
        if self.root is not None and manifest.digest not in builder.contents:
            builder.problems[f"{file} names {manifest.digest}, which the image's index does not"] = None
        if isinstance(self.loader.documents.get(manifest.digest), oci.Index):
            builder.problems[f"{file} names an index and no manifest"] = None
        size = builder.add(manifest)
        descriptor = oci.Descriptor(manifest.media_type, manifest.digest, manifest.size, listed.platform)
        return oci.ImagePlatform(descriptor, listed.folder, size)


def _read_oci_layout(layout: ForeignLayout) -> LayoutImages:
    """Read the images of an OCI image layout that another program made.

    The platforms of an image are those that its index names and that are there, else the platform of its config.
    """
    most = most_list_values(layout.stored_size())
    raw = dict(read_files(layout, [INDEX_NAME], most_list_bytes(most))).get(INDEX_NAME)
    if not isinstance(raw, bytes):
        raise raw or ContentError(f"its {INDEX_NAME} is no file", advice="name an archive, or an OCI image layout")
    roots = parse_layout_index(raw, most)
    for root in roots:
        _show_inline(root, layout)
    loader = ManifestLoader(layout)
    loader.load(roots)
    # The cause of what is missing.
    loader.damaged |= layout.damage
    for document in loader.documents.values():
        for child in oci.children(document):
            _show_inline(child, layout)
    entries = name_images(roots, layout.title, loader.documents)
    images = tuple(_layout_image(entry, loader, layout) for entry in entries)
    return LayoutImages(images, "", loader.documents)


def _show_inline(content: oci.Descriptor, layout: ForeignLayout) -> None:
    """Show content that is in its descriptor alone (image-spec, descriptor.md, "Embedded Content")."""
    name = blob_name(content.digest)
    if not content.data or name in layout.sizes():
        return
    with suppress(ValueError):
        data = base64.b64decode(content.data, validate=True)
        if oci.Digest.of(data, content.digest.algorithm) == content.digest:
            layout.make(name, data)


def _part_of(entry: oci.Image, loader: ManifestLoader, layout: ForeignLayout) -> oci.Image:
    """Return an image whose maker left out manifests of its index as one of which only a part is held."""
    root = loader.documents.get(entry.root.digest) if entry.root is not None else None
    if not isinstance(root, oci.Index):
        return entry
    nodes = [node for node in oci.walk(root.descriptor, loader.documents, loader.budget) if not node.is_blob]
    missing = [node.descriptor.digest for node in nodes if node.document is None]
    manifests = [node for node in nodes if isinstance(node.document, oci.Manifest)]
    is_left_out = missing and all(
        blob_name(digest) not in layout.sizes() and digest not in layout.damage for digest in missing
    )
    if not is_left_out or all(node.descriptor.attests is not None for node in manifests):
        return entry
    part = oci.partial_index(root, {node.descriptor.digest for node in manifests}, loader.indexes)
    layout.make(blob_name(part.digest), part.raw)
    loader.documents[part.digest] = part
    return replace(entry, root=part.descriptor, original=root.digest)


def _layout_image(entry: oci.Image, loader: ManifestLoader, layout: ForeignLayout) -> oci.Image:
    entry = _part_of(entry, loader, layout)
    builder = _ImageBuilder(loader)
    _add_root(builder, entry)
    builder.problems.update((layout.damage[digest], None) for digest in builder.contents if digest in layout.damage)
    platforms = [
        oci.ImagePlatform(oci.Descriptor(manifest.media_type, one.digest, one.size, platform), size=builder.add(one))
        for one, manifest, platform in list(_platforms(entry, builder, loader, layout))
    ]
    return builder.build(entry, platforms)


def _platforms(
    entry: oci.Image, builder: _ImageBuilder, loader: ManifestLoader, layout: Layout
) -> Iterator[tuple[oci.Descriptor, oci.Manifest, oci.Platform]]:
    """Yield the manifests of an image that are no attestations, with their platforms."""
    for descriptor in builder.contents.values():
        manifest = loader.documents.get(descriptor.digest)
        if not isinstance(manifest, oci.Manifest) or descriptor.attests is not None:
            continue
        platform = descriptor.platform or _config_platform(manifest, layout)
        is_root = entry.root is not None and descriptor.digest == entry.root.digest
        # Any other image without a platform is an attestation whose entry does not say so.
        if not platform.unknown or not manifest.is_image or is_root:
            yield descriptor, manifest, platform


def _config_platform(manifest: oci.Manifest, layout: Layout) -> oci.Platform:
    """Read the platform of an image from its config; an artifact, or a config that cannot be read, has none."""
    if not manifest.is_image:
        return oci.NO_PLATFORM
    for _, raw in read_files(layout, [blob_name(manifest.config.digest)], oci.MAX_DOCUMENT):
        try:
            return oci.ImageConfig.parse(_checked(raw), manifest.config.digest).platform
        except ContentError:
            break
    return oci.NO_PLATFORM
