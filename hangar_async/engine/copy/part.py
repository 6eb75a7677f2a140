"""The part of an index that a selection of platforms takes, told by the index alone."""

from hangar_async.oci import Document, Index, PlatformSelector, partial_index


def selected_part(root: Document, selector: PlatformSelector) -> Index | None:
    """Return the index of the selected platforms and what accompanies them, the root itself where that is all of it.

    None where only the manifests tell the platforms, where no platform is selected, and for a root that is no index.
    """
    if not isinstance(root, Index):
        return None
    manifests = [entry for entry in root.manifests if not entry.is_content and entry.attests is None]
    if any(entry.is_index or entry.platform is None for entry in manifests):
        return None
    kept = {
        entry.digest
        for entry in manifests
        if entry.platform is not None and not entry.platform.unknown and entry.platform in selector
    }
    if not kept:
        return None
    names = {str(digest) for digest in kept}
    kept |= {entry.digest for entry in root.manifests if entry.attests in names}
    kept |= {
        entry.digest
        for entry in root.blobs
        if entry.platform is None or entry.platform.unknown or entry.platform in selector
    }
    return partial_index(root, kept, {root.digest: root})
