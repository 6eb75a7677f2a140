"""An image: the one value for it, planned from a registry or read from a layout."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hangar_async.errors import ContentError
from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import Document, Documents, walk
from hangar_async.oci.manifest import Descriptor, Manifest, join_index
from hangar_async.oci.platform import NO_PLATFORM, Platform
from hangar_async.oci.reference import Reference
from hangar_async.oci.referrers import ReferrerKind, cosign_type, kind_of, referrer_of


@dataclass(frozen=True, slots=True)
class ImagePlatform:
    """One platform of an image: the descriptor of its manifest, and the folder of its layout in a cache ("" for none).

    `size` is the number of bytes of the manifest and of all that it names, 0 where it is not known.
    """

    descriptor: Descriptor
    folder: str = ""
    size: int = 0

    @property
    def platform(self) -> Platform:
        """The platform that the image runs on."""
        return self.descriptor.platform or NO_PLATFORM


@dataclass(frozen=True, slots=True)
class Attachment:
    """The way that an image belongs to another one, of its repository: the subject, a digest of that one; its type."""

    subject: Digest
    artifact_type: str
    kind: ReferrerKind

    @classmethod
    def of(cls, subject: Digest, reference: Reference, root: Document | None) -> Attachment:
        """Read the type of a referrer: from its tag, where it is one of cosign, else from its document."""
        referrer = None if root is None else referrer_of(root)
        artifact_type = cosign_type(reference.tag) or ("" if referrer is None else referrer.artifact_type)
        annotations = {} if referrer is None else referrer.descriptor.annotations
        return cls(subject, artifact_type, kind_of(artifact_type, annotations))


@dataclass(frozen=True, slots=True)
class Image:
    """One image: its name, its root, its platforms, and all its contents.

    `root` is the manifest or index that the name stands for (None in a cache without an `index.json`), `original` the
    digest of the index that the registry served when `root` is a partial one. `contents` are manifests, indexes,
    configs and layers, each digest once, parents first; `documents` has the manifests and indexes among them.
    `problems` name content that is missing or cannot be read, `notes` content that was left out. `named` is False for
    an image of a layout that has no name: its reference has the directory and the digest. `attachment` is that of a
    referrer that came with another image; it has no platforms.
    """

    reference: Reference
    root: Descriptor | None
    platforms: tuple[ImagePlatform, ...]
    contents: tuple[Descriptor, ...] = field(default=(), repr=False)
    documents: Documents = field(default_factory=dict, repr=False, compare=False)
    original: Digest | None = None
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    named: bool = True
    attachment: Attachment | None = None
    #: The name that its line of the image list has, where the image was saved from another registry.
    listed: Reference | None = None

    @property
    def wanted(self) -> Reference:
        """The name that others know it by: that of its line in the list, else its own."""
        return self.listed or self.reference

    @property
    def name(self) -> str:
        """`REGISTRY/REPOSITORY:TAG`, or the digest of an image without a name."""
        return self.reference.cache_name if self.named else str(self.reference.digest)

    @property
    def digest(self) -> Digest | None:
        """The digest of `root`, or of the only manifest; None without either."""
        if self.root is not None:
            return self.root.digest
        return self.platforms[0].descriptor.digest if len(self.platforms) == 1 else None

    @property
    def size(self) -> int:
        """The number of bytes of its contents."""
        return sum(content.size for content in self.contents)

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The configs and layers among its contents."""
        return tuple(content for content in self.contents if content.digest not in self.documents)

    @property
    def configs(self) -> tuple[Descriptor, ...]:
        """The configs of its platforms that are container images."""
        manifests = (self.documents.get(platform.descriptor.digest) for platform in self.platforms)
        return tuple(manifest.config for manifest in manifests if isinstance(manifest, Manifest) and manifest.is_image)

    def document(self, descriptor: Descriptor) -> Document:
        """Return the document of a descriptor; raises ContentError where it is missing."""
        document = self.documents.get(descriptor.digest)
        if document is None:
            raise ContentError(f"manifest {descriptor.digest} is missing", digest=str(descriptor.digest))
        return document

    def root_document(self) -> Document:
        """Return the document of `root`, else that of its only manifest, else an index of its manifests.

        Raises ContentError where the document is missing.
        """
        if self.root is None and len(self.platforms) != 1:
            return join_index([platform.descriptor for platform in self.platforms])
        return self.document(self.root or self.platforms[0].descriptor)

    def below_root(self) -> tuple[Descriptor, ...]:
        """Return the contents without the indexes that are kept beside a partial one."""
        if self.root is None:
            return self.contents
        below = {node.descriptor.digest for node in walk(self.root, self.documents)}
        return tuple(content for content in self.contents if content.digest in below)

    def without_contents(self) -> Image:
        """Return the image without its contents and documents, for a report."""
        return replace(self, contents=(), documents={})
