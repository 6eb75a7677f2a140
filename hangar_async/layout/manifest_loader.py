"""The manifests and indexes in holdings, and what they name; hostile until it is checked."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from hangar_async.errors import ArchiveError, ContentError
from hangar_async.layout.files import blob_name
from hangar_async.layout.protocols import Layout, LayoutFile
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, Index, Manifest, parse_manifest

#: Documents are read in rounds: indexes, then what they name; nested deeper is refused.
_ROUNDS = 10
#: Small documents can name much, and one the same as another: ten times what the largest known list of images does.
_MOST_NAMED = 1 << 19


def read_files(layout: Layout, names: Collection[str], limit: int) -> Iterator[tuple[str, bytes | ContentError]]:
    """Read small files of these names that are there, one after the other; what is wrong with one takes its place."""
    sizes = layout.sizes()
    found = [name for name in names if name in sizes]
    for name in found:
        if sizes[name] > limit:
            yield name, ContentError(f"{name} has {sizes[name]} bytes, more than the {limit} that it may have")
    for file in layout.files({name for name in found if sizes[name] <= limit}):
        yield file.name, _content(file)


def _content(file: LayoutFile) -> bytes | ContentError:
    data = bytearray()
    try:
        for piece in file.pieces:
            data += piece
            if len(data) > file.size:
                break
    except ArchiveError as error:
        return ContentError(str(error))
    if len(data) != file.size:
        return ContentError(f"{file.name} is not of the {file.size} bytes that it is said to have")
    if file.digest is not None and Digest.of(bytes(data), file.digest.algorithm) != file.digest:
        return ContentError(f"{file.name} is damaged", digest=str(file.digest))
    return bytes(data)


@dataclass(slots=True)
class Gathered:
    """What an image consists of: each digest once, in the order in which it is named; and what is wrong with it.

    `originals` are the indexes that the registry served of which only a part is held.
    """

    contents: dict[Digest, Descriptor] = field(default_factory=dict)
    originals: dict[Digest, Descriptor] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)


@dataclass(slots=True)
class Documents:
    """Manifests and indexes that were read, and what was wrong with others."""

    layout: Layout
    sizes: Mapping[str, int]
    parsed: dict[Digest, Manifest | Index] = field(default_factory=dict)
    wrong: dict[Digest, str] = field(default_factory=dict)
    _named: int = 0

    def load(self, wanted: Iterable[Descriptor]) -> None:
        """Read these, then what the indexes among them name, and so on; raises ContentError where that is too much."""
        missing = {one.digest: one for one in wanted}
        for _ in range(_ROUNDS):
            below = [entry for one in self._read(missing) if isinstance(one, Index) for entry in one.manifests]
            missing = {one.digest: one for one in below if one.digest not in self.parsed}
            missing = {digest: one for digest, one in missing.items() if digest not in self.wrong}
            if not missing:
                return

    def gather(self, one: Descriptor, found: Gathered, depth: int = 0) -> None:
        """Gather a manifest or index and everything below it."""
        if one.digest in found.contents:
            return
        found.contents[one.digest] = one
        document = self.parsed.get(one.digest)
        if document is None or depth > _ROUNDS:
            found.problems[self.wrong.get(one.digest, f"manifest {one.digest} is nested too deep")] = None
        elif isinstance(document, Index):
            self._count(len(document.manifests))
            for entry in document.manifests:
                self.gather(entry, found, depth + 1)
        else:
            self._count(len(document.layers))
            for part in (document.config, *document.layers):
                found.contents.setdefault(part.digest, part)

    def gather_original(self, one: Descriptor, found: Gathered, depth: int = 0) -> None:
        """Gather the index that the registry served, and the indexes within it that are held in part."""
        document = self.parsed.get(one.digest)
        if not isinstance(document, Index) or depth > _ROUNDS:
            found.problems[self.wrong.get(one.digest, f"the original {one.digest} is no index")] = None
            return
        found.originals.setdefault(one.digest, document.descriptor)
        self._count(len(document.manifests))
        for entry in document.manifests:
            known = entry.digest in found.contents or entry.digest in found.originals
            if not known and isinstance(self.parsed.get(entry.digest), Index):
                self.gather_original(entry, found, depth + 1)

    def unnamed(self, digest: Digest) -> Descriptor:
        """Describe a document by its digest alone: its type it says itself."""
        return Descriptor("", digest, self.sizes.get(blob_name(digest), 0))

    def size(self, one: Descriptor) -> int:
        """How many bytes a manifest and what it names have."""
        document = self.parsed.get(one.digest)
        if not isinstance(document, Manifest):
            return one.size
        self._count(len(document.layers))
        parts = {part.digest: part.size for part in (one, document.config, *document.layers)}
        return sum(parts.values())

    def _read(self, wanted: Mapping[Digest, Descriptor]) -> Iterator[Manifest | Index]:
        names = {blob_name(digest): one for digest, one in wanted.items()}
        self.wrong |= {one.digest: f"manifest {one.digest} is missing" for one in names.values()}
        for name, content in read_files(self.layout, names, MAX_DOCUMENT):
            one = names[name]
            try:
                if isinstance(content, ContentError):
                    raise ContentError(f"manifest {one.digest} cannot be read: {content}")
                document = parse_manifest(content, one.media_type, one.digest.algorithm)
            except ContentError as error:
                self.wrong[one.digest] = str(error)
                continue
            del self.wrong[one.digest]
            self._count(len(document.manifests if isinstance(document, Index) else document.layers))
            self.parsed[one.digest] = document
            yield document

    def _count(self, more: int) -> None:
        self._named += more
        if self._named > _MOST_NAMED:
            raise ContentError(f"its manifests name more than {_MOST_NAMED:,} blobs", advice="split the list of images")
