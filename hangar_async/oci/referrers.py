"""Referrers: documents that refer to another one, their subject, such as signatures and lists of parts.

Cosign keeps its own under tags that have the digest of their subject in them.
Source: OCI image-spec, manifest.md, "subject"; OCI distribution-spec 1.1, "Listing Referrers" and "Referrers Tag
Schema"; cosign, SIGNATURE_SPEC.md, "Tag-based Discovery".
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Self, TypeAlias

import msgspec

from hangar_async.errors import ContentError, InvalidValue
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.graph import Document
from hangar_async.oci.manifest import MAX_DOCUMENT, Descriptor, Index, Manifest, parse_manifest

_COSIGN = "application/vnd.dev.cosign.artifact.{}.v1+json"
#: The ends of cosign's tags, and the artifact types of what they name.
COSIGN_TYPES: Mapping[str, str] = {end: _COSIGN.format(end) for end in ("sig", "att", "sbom")}
_REFERRERS_TAG = re.compile("sha(?:256|512)-[0-9a-f]{64}")
_COSIGN_TAG = re.compile(rf"sha(?:256|512)-[0-9a-f]{{64,128}}\.({'|'.join(COSIGN_TYPES)})")
_TYPE = re.compile(r"[A-Za-z0-9][\w.+-]{0,126}/[\w.+-]{1,127}", re.ASCII)
_SIGNATURES = (COSIGN_TYPES["sig"], "application/vnd.cncf.notary.signature")
_ATTESTATIONS = (COSIGN_TYPES["att"], "application/vnd.in-toto+json", "application/vnd.dsse.envelope.v1+json")
_BUNDLE = "application/vnd.dev.sigstore.bundle"
#: The annotation of a bundle of sigstore that says what is attested, and its word for a plain signature.
_PREDICATE, _SIGN = "dev.sigstore.bundle.predicateType", "https://sigstore.dev/cosign/sign/"

#: The kinds of referrers that people count.
ReferrerKind: TypeAlias = Literal["signature", "attestation", "other"]


def is_referrers_tag(tag: str | None) -> bool:
    """Tell whether a tag may name a list of referrers; an image that has only a digest gets such a tag too."""
    return tag is not None and _REFERRERS_TAG.fullmatch(tag) is not None


def cosign_type(tag: str | None) -> str:
    """Return the artifact type of what a tag of cosign names, "" for any other tag."""
    match = _COSIGN_TAG.fullmatch(tag or "")
    return COSIGN_TYPES[match[1]] if match else ""


def kind_of(artifact_type: str, annotations: Mapping[str, str]) -> ReferrerKind:
    """Return the kind of a referrer by its artifact type and annotations."""
    if artifact_type.startswith(_BUNDLE):
        predicate = annotations.get(_PREDICATE, _SIGN)
        return "signature" if predicate.startswith(_SIGN) else "attestation"
    if artifact_type.startswith(_SIGNATURES):
        return "signature"
    return "attestation" if artifact_type.startswith(_ATTESTATIONS) else "other"


@dataclass(frozen=True, slots=True)
class ReferrerSelector:
    """A selection of referrers by their artifact types; `types` is None for all, and empty for none."""

    types: frozenset[str] | None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `all`, `none`, or artifact types separated by commas; raises InvalidValue."""
        words = [word.strip() for word in text.split(",") if word.strip()]
        if words in (["all"], ["none"]):
            return cls(None if words == ["all"] else frozenset())
        for word in words:
            if not _TYPE.fullmatch(word):
                raise InvalidValue(
                    f"{word[:100]!r} is no artifact type: write all, none, or types such as {COSIGN_TYPES['sig']}"
                )
        if not words:
            raise InvalidValue("no artifact type is named: write all, none, or types separated by commas")
        return cls(frozenset(words))

    def __bool__(self) -> bool:
        return self.types is None or bool(self.types)

    def __contains__(self, artifact_type: str) -> bool:
        return self.types is None or artifact_type in self.types

    @property
    def only(self) -> str:
        """The artifact type where it is a single one, else ""."""
        return next(iter(self.types)) if self.types is not None and len(self.types) == 1 else ""


class _SubjectJson(msgspec.Struct):
    digest: str


class _DocumentJson(msgspec.Struct):
    subject: _SubjectJson | None = None
    artifactType: str | None = None  # noqa: N815 - the specification's name
    annotations: dict[str, str] | None = None


@dataclass(frozen=True, slots=True)
class Referrer:
    """A manifest or index, with its own annotations, and the digest of its subject."""

    descriptor: Descriptor
    artifact_type: str
    subject: Digest


def referrer_of(document: Document) -> Referrer | None:
    """Read the subject of a document; return None without one that can be read."""
    try:
        fields = msgspec.json.decode(document.raw, type=_DocumentJson)
        if fields.subject is None:
            return None
        subject = Digest.parse(fields.subject.digest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidValue):
        return None
    # A manifest that names no type has that of its config.
    implied = document.config.media_type if isinstance(document, Manifest) else ""
    size = len(document.raw)
    descriptor = Descriptor(document.media_type, document.digest, size, annotations=fields.annotations or {})
    return Referrer(descriptor, fields.artifactType or implied, subject)


def referrers_index(referrers: Iterable[Referrer]) -> bytes:
    """Make the image index that lists referrers."""
    entries = [_entry(referrer) for referrer in referrers]
    return json.dumps({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries}).encode()


def with_referrer(index: Index | None, referrer: Referrer) -> Index | None:
    """Add a referrer at the end of an index of referrers, None for an empty one; None where it is in it already.

    The entries that are there stay as they are. Raises ContentError where it would be larger than an index may be.
    """
    entries = () if index is None else index.manifests
    if any(entry.digest == referrer.descriptor.digest for entry in entries):
        return None
    new = parse_manifest(referrers_index([referrer]))
    assert isinstance(new, Index)  # noqa: S101 - it was made above
    joined = new.with_only((*entries, *new.manifests))
    if len(joined.raw) > MAX_DOCUMENT:
        message = f"the list of the referrers of {referrer.subject} would be larger than {MAX_DOCUMENT} bytes"
        raise ContentError(message, digest=str(referrer.subject), advice="remove some of them there")
    return joined


def _entry(referrer: Referrer) -> dict[str, Any]:
    fields = referrer.descriptor.to_json(referrer.descriptor.annotations)
    return {**fields, "artifactType": referrer.artifact_type} if referrer.artifact_type else fields
