"""The manifests and indexes of a layout, read and checked; hostile until then."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from functools import cached_property

from hangar_async import oci
from hangar_async.errors import ArchiveError, ContentError, DigestMismatch
from hangar_async.layout.files import Layout, LayoutFile, blob_name
from hangar_async.layout.limits import most_entries


def read_files(layout: Layout, names: Collection[str], limit: int) -> Iterator[tuple[str, bytes | ContentError]]:
    """Read small files of these names that exist, one at a time, each of at most `limit` bytes.

    A file that is larger, damaged or not of its size is yielded as the error.
    """
    sizes = layout.sizes()
    present = [name for name in names if name in sizes]
    for name in present:
        if sizes[name] > limit:
            yield name, ContentError(f"{name} has {sizes[name]} bytes, more than the {limit} that it may have")
    for file in layout.files({name for name in present if sizes[name] <= limit}):
        yield file.name, _content(file)


def _content(file: LayoutFile) -> bytes | ContentError:
    try:
        return b"".join(map(bytes, oci.verified(file.pieces, file.digest, file.size, file.name)))
    except (ArchiveError, DigestMismatch) as error:
        return ContentError(str(error), digest=str(file.digest or ""))


class ManifestLoader:
    """Reads the documents of a layout: `documents` by digest, and in `damaged` the problem of each other one."""

    def __init__(self, layout: Layout) -> None:
        self.sizes: Mapping[str, int] = layout.sizes()
        self.documents: dict[oci.Digest, oci.Document] = {}
        self.damaged: dict[oci.Digest, str] = {}
        #: For the images that are made of the documents, all together.
        self.budget = oci.EntryBudget(most_entries(layout.stored_size()))
        self._layout = layout
        self._memory = oci.EntryBudget(self.budget.limit)
        self._blobs_sizes: dict[oci.Digest, int] = {}

    def load(self, roots: Iterable[oci.Descriptor]) -> None:
        """Read these documents and everything below them; raises ContentError where they name too much."""
        missing = {root.digest: root for root in roots}
        for _ in range(oci.MAX_DEPTH + 1):
            documents = list(self._read(missing))
            entries = (entry for index in documents if isinstance(index, oci.Index) for entry in index.manifests)
            documents_of = (entry for entry in entries if not entry.is_content)
            missing = {entry.digest: entry for entry in documents_of if not self._is_known(entry.digest)}
            if not missing:
                return
        self.damaged |= {digest: f"manifest {digest} is nested too deep" for digest in missing}

    @cached_property
    def indexes(self) -> oci.Documents:
        """The indexes among the documents, once all are loaded."""
        return {digest: document for digest, document in self.documents.items() if isinstance(document, oci.Index)}

    def blobs_size(self, digest: oci.Digest) -> int | None:
        """Return the bytes of the blobs of a manifest, each once; None for another document. Added up once."""
        document = self.documents.get(digest)
        if isinstance(document, oci.Manifest) and digest not in self._blobs_sizes:
            self._blobs_sizes[digest] = sum({blob.digest: blob.size for blob in document.blobs}.values())
        return self._blobs_sizes.get(digest)

    def describe(self, digest: oci.Digest) -> oci.Descriptor:
        """Describe a document by its digest alone; its type is in the document."""
        return oci.Descriptor("", digest, self.sizes.get(blob_name(digest), 0))

    def _is_known(self, digest: oci.Digest) -> bool:
        return digest in self.documents or digest in self.damaged

    def _read(self, descriptors: Mapping[oci.Digest, oci.Descriptor]) -> Iterator[oci.Document]:
        names = {blob_name(digest): descriptor for digest, descriptor in descriptors.items()}
        self.damaged |= {digest: f"manifest {digest} is missing" for digest in descriptors}
        for name, content in read_files(self._layout, names, oci.MAX_DOCUMENT):
            descriptor = names[name]
            try:
                if isinstance(content, ContentError):
                    raise ContentError(f"manifest {descriptor.digest} cannot be read: {content}")
                document = oci.parse_manifest(content, descriptor.media_type, descriptor.digest.algorithm)
            except ContentError as error:
                self.damaged[descriptor.digest] = str(error)
                continue
            del self.damaged[descriptor.digest]
            self._memory.spend(len(oci.children(document)))
            self.documents[document.digest] = document
            yield document
