"""JSON documents in bounded memory; manifests and indexes with their raw bytes, which the digest is computed from."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Annotated, Any, Self, TypeVar

import msgspec

from hangar_async.errors import ContentError, InvalidValue, UnsupportedManifest
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.platform import NO_PLATFORM, Platform

#: Documents of more values are refused: a value of a few bytes takes a hundred in memory. An index of ours has eight
#: for each image, a list ten for each image of one platform; the largest lists in use name some thousand images.
MOST_VALUES = 1 << 19
_LONGEST_MESSAGE = 300
_T = TypeVar("_T")


def decode_json(raw: bytes | bytearray, kind: type[_T], most: int = MOST_VALUES) -> _T:
    """Decode a document of this kind.

    Raises ValueError, of one short line, for any other and for one of more than `most` values.
    """
    # Each value of a list or an object except the first has a comma before it.
    if raw.count(b",") >= most:
        raise ValueError(f"it has more than {most:,} values")
    try:
        return msgspec.json.decode(raw, type=kind)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        text = str(error)[:_LONGEST_MESSAGE]
        raise ValueError(text if text.isprintable() else ascii(text)) from error


#: Larger documents are refused (distribution-spec, "Pushing Manifests": a registry should take up to 4 MiB).
MAX_DOCUMENT = 4 << 20
#: A manifest of more layers is refused. File systems stack some hundred; artifacts have one for each file.
MAX_LAYERS = 4_096
#: An index of more entries is refused.
MAX_INDEX_ENTRIES = 10_000
REF_NAME = "org.opencontainers.image.ref.name"
_ATTESTED = "vnd.docker.reference.digest"
_ATTESTATION_TYPE = "vnd.docker.reference.type"
_NOTHING: Mapping[str, str] = MappingProxyType({})
#: The largest size; sums of such sizes are still of a readable length.
_LARGEST = 1 << 62
#: The characters of a wrong text that a message shows.
_LONGEST = 100


class _PlatformJson(msgspec.Struct):
    architecture: str = ""
    os: str = ""
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)

    def value(self) -> Platform | None:
        """Return the platform; None where a word that says it is empty, so that the config has to be read."""
        platform = Platform(self.os, self.architecture, self.variant or "", self.os_version or "")
        return platform if self.os and self.architecture else None


class _DescriptorJson(msgspec.Struct):
    digest: str
    size: Annotated[int, msgspec.Meta(ge=0, le=_LARGEST)]
    mediaType: str = ""  # noqa: N815 - the specification's name
    platform: _PlatformJson | None = None
    annotations: dict[str, str] | None = None
    urls: list[str] | None = None
    artifactType: str | None = None  # noqa: N815
    data: str | None = None


class _Document(msgspec.Struct):
    schemaVersion: int  # noqa: N815
    mediaType: str = ""  # noqa: N815
    config: _DescriptorJson | None = None
    layers: list[_DescriptorJson] | None = None
    manifests: list[msgspec.Raw] | None = None
    fsLayers: list[msgspec.Raw] | None = None  # noqa: N815


class _Lists(msgspec.Struct):
    """The lists of a document, whose entries are not looked at yet."""

    layers: list[msgspec.Raw] | None = None
    manifests: list[msgspec.Raw] | None = None


class _ConfigJson(msgspec.Struct):
    created: str | None = None
    architecture: str | None = None
    os: str | None = None
    variant: str | None = None
    os_version: str | None = msgspec.field(name="os.version", default=None)


@dataclass(frozen=True, slots=True)
class Descriptor:
    """A description of content: the unit of fetching, storing, archiving and deduplication.

    `size` is in bytes; `raw` is its JSON exactly as in its index (empty without an index).
    Source: OCI image-spec, descriptor.md.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Mapping[str, str] = field(default_factory=lambda: _NOTHING, hash=False)
    urls: tuple[str, ...] = ()
    raw: bytes = field(default=b"", repr=False, compare=False)
    artifact_type: str = ""
    #: Its content in base64, "" where that is not in it.
    data: str = field(default="", repr=False, compare=False)

    @property
    def is_index(self) -> bool:
        """True when it describes an index or a manifest list."""
        return self.media_type in media_types.INDEXES

    @property
    def is_content(self) -> bool:
        """True when, as an entry of an index, it describes a blob."""
        return media_types.is_content(self.media_type)

    @property
    def is_foreign(self) -> bool:
        """True when its content is not in the registry."""
        return bool(self.urls) or media_types.is_foreign(self.media_type)

    @property
    def attests(self) -> str | None:
        """The digest, as text, of the manifest that this entry of an index is an attestation of."""
        if self.annotations.get(_ATTESTATION_TYPE) == "attestation-manifest":
            return self.annotations.get(_ATTESTED, "")
        return None

    @property
    def accompanies(self) -> bool:
        """True when this entry of an index says of itself that it is no image, but comes with one."""
        if self.attests is not None:
            return True
        is_artifact = bool(self.artifact_type) and self.artifact_type not in media_types.IMAGE_CONFIGS
        return is_artifact and (self.platform is None or self.platform.unknown)

    def to_json(self, annotations: Mapping[str, str] = _NOTHING) -> dict[str, Any]:
        """Return its fields for a JSON document, with these annotations instead of its own."""
        fields: dict[str, Any] = {"mediaType": self.media_type, "digest": str(self.digest), "size": self.size}
        if self.platform is not None and not self.platform.unknown:
            fields["platform"] = self.platform.fields
        if annotations:
            fields["annotations"] = dict(annotations)
        return fields


@dataclass(frozen=True, slots=True)
class _RawDocument:
    raw: bytes = field(repr=False)
    media_type: str
    digest: Digest

    @property
    def descriptor(self) -> Descriptor:
        """The descriptor of this document."""
        return Descriptor(self.media_type, self.digest, len(self.raw))


@dataclass(frozen=True, slots=True)
class Manifest(_RawDocument):
    """One image for one platform, or an artifact; Docker schema 2 and OCI alike.

    Source: OCI image-spec, manifest.md; Docker image manifest version 2, schema 2.
    """

    config: Descriptor
    layers: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """Its config and its layers."""
        return self.config, *self.layers

    @property
    def is_image(self) -> bool:
        """True when this is a container image, by the type of its config."""
        return self.config.media_type in media_types.IMAGE_CONFIGS


@dataclass(frozen=True, slots=True)
class Index(_RawDocument):
    """An OCI image index or a Docker manifest list.

    Source: OCI image-spec, image-index.md.
    """

    manifests: tuple[Descriptor, ...]

    @property
    def blobs(self) -> tuple[Descriptor, ...]:
        """The entries that are no documents, as in the caches of BuildKit."""
        return tuple(entry for entry in self.manifests if entry.is_content)

    def with_only(self, kept: tuple[Descriptor, ...]) -> Self:
        """Make the index of the same type with these descriptors, each as in the original."""
        head = f'{{"schemaVersion":2,"mediaType":{json.dumps(self.media_type)},"manifests":['.encode()
        raw = head + b",".join(entry.raw for entry in kept) + b"]}"
        return replace(self, raw=raw, digest=Digest.of(raw), manifests=kept)


@dataclass(frozen=True, slots=True)
class ImageConfig:
    """The fields of the config of an image that are used: its platform, and the time of its creation ("" without one).

    Source: OCI image-spec, config.md.
    """

    platform: Platform
    created: str

    @classmethod
    def parse(cls, raw: bytes, digest: Digest) -> Self:
        """Read a config document; raises ContentError."""
        config = _decode(raw, _ConfigJson, str(digest))
        if not config.os or not config.architecture:
            return cls(NO_PLATFORM, config.created or "")
        try:
            platform = Platform(config.os, config.architecture, config.variant or "", config.os_version or "")
        except InvalidValue as error:
            raise ContentError(f"config {digest}: {error}", digest=str(digest)) from error
        return cls(platform, config.created or "")


def join_index(entries: Sequence[Descriptor]) -> Index:
    """Make an OCI index of these manifests."""
    fields = [entry.to_json() for entry in entries]
    raw = json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": fields}).encode()
    return Index(raw, media_types.OCI_INDEX, Digest.of(raw), tuple(entries))


def parse_manifest(
    raw: bytes,
    content_type: str = "",
    algorithm: str = "sha256",
    limit: int = MAX_DOCUMENT,
    entries: int = MAX_INDEX_ENTRIES,
) -> Manifest | Index:
    """Read a manifest or index of any supported kind, sent with this Content-Type, of at most `limit` bytes.

    Raises UnsupportedManifest for Docker schema 1 and unknown kinds, ContentError for bytes that are no manifest,
    contradict their Content-Type, or could be read as two kinds at once, and for more than MAX_LAYERS layers, or more
    than `entries` entries.
    """
    digest = Digest.of(raw, algorithm)
    if len(raw) > limit:
        raise ContentError(f"manifest {digest} is larger than {limit} bytes", digest=str(digest))
    declared = content_type.partition(";")[0].strip().lower()
    if declared in media_types.SCHEMA1:
        raise _schema1(digest)
    most = max(MOST_VALUES, entries)
    _check_lists(_decode(raw, _Lists, str(digest), most), entries, digest)
    document = _decode(raw, _Document, str(digest), most)
    media_type = _media_type(document, declared, digest)
    if media_type in media_types.INDEXES:
        return Index(raw, media_type, digest, tuple(_descriptor(entry, digest) for entry in document.manifests or ()))
    assert document.config is not None  # noqa: S101 - _media_type checks it
    layers = tuple(_value(layer, digest) for layer in document.layers or ())
    return Manifest(raw, media_type, digest, _value(document.config, digest), layers)


def _check_lists(lists: _Lists, most_entries: int, digest: Digest) -> None:
    """Raise ContentError for too many layers or entries, before any of them is read."""
    counts = (("layers", lists.layers, MAX_LAYERS), ("entries", lists.manifests, most_entries))
    for name, found, most in counts:
        if found is not None and len(found) > most:
            message = f"manifest {digest} has {len(found):,} {name}, and at most {most:,} are taken"
            raise ContentError(message, digest=str(digest))


def _media_type(document: _Document, declared: str, digest: Digest) -> str:
    """Return the media type of a document; its own, its Content-Type and its fields must agree."""
    if document.schemaVersion == 1 or document.fsLayers is not None:
        raise _schema1(digest)
    known = media_types.MANIFESTS | media_types.INDEXES
    own = document.mediaType
    if own and declared in known and own != declared:
        message = f"manifest {digest} says it is {own[:_LONGEST]!r}, but was sent as {declared}"
        raise ContentError(message, digest=str(digest))
    by_fields = media_types.OCI_INDEX if document.manifests is not None else media_types.OCI_MANIFEST
    media_type = own or (declared if declared in known else by_fields)
    if media_type not in known:
        message = f"manifest {digest} is of the unsupported type {media_type[:_LONGEST]!r}"
        raise UnsupportedManifest(message, digest=str(digest))
    is_index = document.manifests is not None
    is_manifest = document.layers is not None or document.config is not None
    if is_index and is_manifest:
        raise ContentError(f"manifest {digest} has both layers and manifests", digest=str(digest))
    has_fields = is_index if media_type in media_types.INDEXES else document.config is not None
    if not has_fields:
        raise ContentError(f"manifest {digest} lacks the fields of its type {media_type}", digest=str(digest))
    return media_type


def _schema1(digest: Digest) -> UnsupportedManifest:
    return UnsupportedManifest(
        f"the image is in Docker schema 1 ({digest}), a kind without digests of its config that no OCI layout can hold",
        digest=str(digest),
        advice="pull and push it again with a current Docker, or ask its publisher for a current image",
    )


def _descriptor(raw: msgspec.Raw, document: Digest) -> Descriptor:
    text = bytes(raw)
    return _value(_decode(text, _DescriptorJson, str(document)), document, text)


def _value(fields: _DescriptorJson, document: Digest, raw: bytes = b"") -> Descriptor:
    try:
        digest = Digest.parse(fields.digest)
        platform = fields.platform.value() if fields.platform else None
    except InvalidValue as error:
        raise ContentError(f"manifest {document}: {error}", digest=str(document)) from error
    return Descriptor(
        fields.mediaType,
        digest,
        fields.size,
        platform,
        MappingProxyType(fields.annotations) if fields.annotations else _NOTHING,
        tuple(fields.urls or ()),
        raw,
        fields.artifactType or "",
        fields.data or "",
    )


def _decode(raw: bytes, kind: type[_T], digest: str, most: int = MOST_VALUES) -> _T:
    try:
        return decode_json(raw, kind, most)
    except ValueError as error:
        raise ContentError(f"document {digest} is not what the specification says: {error}", digest=digest) from error
