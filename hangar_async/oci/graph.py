"""Partial indexes: parts of one original, put together again."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, Manifest

Documents = Mapping[Digest, Manifest | Index]


def joined(original: Index, parts: Collection[Index], documents: Documents) -> Index | None:
    """Put partial indexes of one original together, its entries in its order; the original itself when none is missing.

    `documents` has the indexes within the original, as far as they are held. Returns None when one of the parts is no
    part of the original.
    """
    held = {entry.digest for part in parts for entry in part.manifests}
    if any(part.media_type != original.media_type for part in parts) or not held <= reachable(original, documents):
        return None
    if all(_covered(entry, held, documents) for entry in original.manifests):
        return original
    return original.with_only(tuple(_kept(original, held, documents)))


def reachable(index: Index, documents: Documents) -> set[Digest]:
    """Name all that an index names, and what the indexes below it name that are held."""
    found: set[Digest] = set()
    waiting = [index]
    while waiting:
        for entry in waiting.pop().manifests:
            if entry.digest not in found:
                found.add(entry.digest)
                below = documents.get(entry.digest)
                if isinstance(below, Index):
                    waiting.append(below)
    return found


def _covered(entry: Descriptor, held: Collection[Digest], documents: Documents, depth: int = 0) -> bool:
    if entry.digest in held:
        return True
    below = documents.get(entry.digest)
    return (
        isinstance(below, Index)
        and depth < 10
        and bool(below.manifests)
        and all(_covered(one, held, documents, depth + 1) for one in below.manifests)
    )


def _kept(index: Index, held: Collection[Digest], documents: Documents, depth: int = 0) -> Iterator[Descriptor]:
    """Name what is held of an index; of an index within it that is held in part, what is held of that one."""
    for entry in index.manifests:
        if _covered(entry, held, documents):
            yield entry
        elif isinstance(below := documents.get(entry.digest), Index) and depth < 10:
            yield from _kept(below, held, documents, depth + 1)
