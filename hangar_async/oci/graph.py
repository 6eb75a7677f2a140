"""Manifest graphs: the one bounded walk over documents and their children; partial indexes.

A document is a manifest or an index. The children of an index are its entries, those of a manifest are its config and
layers. An entry of an index whose type is that of no document is a blob, as in the caches of BuildKit. A digest is
visited once, so that the work is bounded by the number of entries.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple, TypeAlias

from hangar_async.errors import ContentError
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, Manifest
from hangar_async.oci.platform import Platform

Document: TypeAlias = Manifest | Index
Documents: TypeAlias = Mapping[Digest, Document]
#: Indexes within indexes, at most.
MAX_DEPTH = 10
#: The most entries of a walk: ten times those of the largest known list of images.
MAX_ENTRIES = 1 << 19


class Node(NamedTuple):
    """One visit of a walk: a descriptor, its document (None where that is not known), and whether it is a blob."""

    descriptor: Descriptor
    document: Document | None
    is_blob: bool


class EntryBudget:
    """The number of entries that walks which share it may visit, `limit`; `spent` were visited."""

    def __init__(self, entries: int | None = None) -> None:
        self.limit = MAX_ENTRIES if entries is None else entries
        self.spent = 0

    def spend(self, entries: int) -> None:
        """Spend some entries; raises ContentError beyond the limit."""
        self.spent += entries
        if self.spent > self.limit:
            message = f"its manifests name more than {self.limit:,} blobs"
            raise ContentError(message, advice="split the list of images")


def children(document: Document) -> tuple[Descriptor, ...]:
    """Return the descriptors that a document names, in their order."""
    return document.manifests if isinstance(document, Index) else document.blobs


def walk(root: Descriptor, documents: Documents, budget: EntryBudget | None = None) -> Iterator[Node]:
    """Visit a document and everything below it, parents first, in the order of the documents.

    A digest is visited once; a manifest that an index names for several platforms once for each, and its children once.
    A digest that is named as a document and as a blob is visited as both.
    A document that is not among `documents` has no children. Raises ContentError for indexes that are nested too deep,
    and beyond the budget, which is MAX_ENTRIES for this walk alone where none is given.
    """
    budget = budget or EntryBudget()
    seen: set[tuple[Digest, Platform | None, bool]] = set()
    expanded: set[Digest] = set()
    stack = [(root, 0, False)]
    while stack:
        descriptor, depth, is_blob = stack.pop()
        key = descriptor.digest, descriptor.platform, is_blob
        if key in seen:
            continue
        seen.add(key)
        document = None if is_blob else documents.get(descriptor.digest)
        yield Node(descriptor, document, is_blob)
        if document is None or document.digest in expanded:
            continue
        expanded.add(document.digest)
        below = children(document)
        budget.spend(len(below))
        _check_depth(descriptor, depth)
        blobs = isinstance(document, Manifest)
        stack += [(child, depth + 1, blobs or child.is_content) for child in reversed(below)]


def documents_below(root: Document, documents: Documents) -> list[Document]:
    """Return a document and the documents below it, each once, children before parents."""
    visited: dict[Digest, Document] = {}

    def visit(document: Document, depth: int) -> None:
        _check_depth(document.descriptor, depth)
        for entry in document.manifests if isinstance(document, Index) else ():
            child = documents.get(entry.digest)
            if child is not None and entry.digest not in visited:
                visit(child, depth + 1)
        visited[document.digest] = document

    visit(root, 0)
    return list(visited.values())


def complete(root: Index, kept: Collection[Digest], documents: Documents) -> set[Digest]:
    """Return the digests of all entries below an index that are kept, or whose own entries all are."""
    whole: set[Digest] = set(kept)
    for document in documents_below(root, documents):
        if isinstance(document, Index) and all(entry.digest in whole for entry in document.manifests):
            whole.add(document.digest)
    return whole


def partial_index(original: Index, kept: Collection[Digest], documents: Documents) -> Index:
    """Make the index of the entries of an original that are kept; the original itself when all of them are.

    An index within the original that is kept in part is replaced by its kept entries. `documents` has the indexes
    within the original.
    """
    whole = complete(original, kept, documents)
    if original.digest in whole:
        return original
    entries: list[Descriptor] = []
    waiting = list(reversed(original.manifests))
    seen: set[Digest] = set()
    while waiting:
        entry = waiting.pop()
        if entry.digest in whole:
            entries.append(entry)
        elif isinstance(below := documents.get(entry.digest), Index) and entry.digest not in seen:
            seen.add(entry.digest)
            waiting += reversed(below.manifests)
    return original.with_only(tuple(entries))


def joined_index(original: Index, parts: Collection[Index], documents: Documents) -> Index | None:
    """Put partial indexes of one original together; None when one of them is no part of the original.

    The entries have the order of the original, which is returned itself when none is missing.
    """
    kept = {entry.digest for part in parts for entry in part.manifests}
    known = {node.descriptor.digest for node in walk(original.descriptor, {**documents, original.digest: original})}
    if any(part.media_type != original.media_type for part in parts) or not kept <= known:
        return None
    return partial_index(original, kept, documents)


def _check_depth(descriptor: Descriptor, depth: int) -> None:
    if depth > MAX_DEPTH:
        message = f"manifest {descriptor.digest} is nested too deep: more than {MAX_DEPTH} indexes within indexes"
        raise ContentError(message, digest=str(descriptor.digest))
