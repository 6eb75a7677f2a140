"""Referrers: manifests and indexes that refer to another one, their subject, such as signatures and lists of parts.

Source: OCI image-spec, manifest.md, "subject"; OCI distribution-spec 1.1, "Listing Referrers".
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import msgspec

from hangar_async.errors import InvalidValue
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor, Index, Manifest


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


def referrer_of(document: Manifest | Index) -> Referrer | None:
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


def _entry(referrer: Referrer) -> dict[str, Any]:
    fields = referrer.descriptor.to_json(referrer.descriptor.annotations)
    return {**fields, "artifactType": referrer.artifact_type} if referrer.artifact_type else fields
