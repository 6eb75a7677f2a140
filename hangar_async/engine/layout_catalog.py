"""The images in an OCI image layout that some other program has made."""

from __future__ import annotations

from collections.abc import Iterator

from hangar_async.engine.catalog import Catalog, HeldImage, HeldPlatform, held_image
from hangar_async.engine.documents import Documents, Gathered, read_files
from hangar_async.errors import ContentError
from hangar_async.oci.catalog import MAX_INDEX, NamedRoot
from hangar_async.oci.digest import Digest
from hangar_async.oci.layout import INDEX_NAME, blob_name
from hangar_async.oci.layout_index import LayoutEntry, parse_layout_index
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, ImageConfig, Manifest
from hangar_async.oci.platform import NO_PLATFORM, Platform
from hangar_async.store.holdings import LayoutHoldings


def read_layout(holdings: LayoutHoldings) -> Catalog:
    """Read what images there are, as `read_catalog` does of a cache; synchronous, for a thread.

    The platforms of an image are those that its index names, and of which there is something; where it names none,
    the config says. Raises ContentError when `index.json` cannot be read.
    """
    raw = dict(read_files(holdings, [INDEX_NAME], MAX_INDEX)).get(INDEX_NAME)
    if not isinstance(raw, bytes):
        raise raw or ContentError(f"its {INDEX_NAME} is no file", advice="name an archive, or an OCI image layout")
    entries = parse_layout_index(raw, holdings.root.resolve().name)
    documents = Documents(holdings, holdings.sizes())
    documents.load([entry.root for entry in entries])
    configs = _Configs(holdings, documents)
    return Catalog(tuple(_image(entry, documents, configs) for entry in entries), "", documents.parsed)


def _image(entry: LayoutEntry, documents: Documents, configs: _Configs) -> HeldImage:
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

    def __init__(self, holdings: LayoutHoldings, documents: Documents) -> None:
        self._holdings = holdings
        self._documents = documents

    def platform_of(self, manifest: Manifest) -> Platform:
        """Say what an image runs on, by its config; no platform for an artifact."""
        if not manifest.is_image:
            return NO_PLATFORM
        for _, raw in read_files(self._holdings, [blob_name(manifest.config.digest)], MAX_DOCUMENT):
            if isinstance(raw, bytes):
                try:
                    return ImageConfig.parse(raw, manifest.config.digest).platform
                except ContentError:
                    break
        return NO_PLATFORM
