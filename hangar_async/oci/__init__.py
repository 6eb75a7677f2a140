"""The terms of the OCI specifications as values, for all other rooms; no input or output, no event loop."""

# isort: off
from hangar_async.oci.digest import ALGORITHMS, Digest, Hasher
from hangar_async.oci.graph import MAX_DEPTH, Document, Documents, EntryBudget, children, complete
from hangar_async.oci.graph import documents_below, joined_index, partial_index, walk
from hangar_async.oci.image import Attachment, Image, ImagePlatform
from hangar_async.oci.integrity import (
    PIECE,
    AsyncPieces,
    OpenPieces,
    Piece,
    Pieces,
    Reader,
    Verifier,
    read_pieces,
    verified,
)
from hangar_async.oci.manifest import MAX_DOCUMENT, REF_NAME, Descriptor, ImageConfig, Index, Manifest
from hangar_async.oci.manifest import decode_json, join_index, parse_manifest
from hangar_async.oci.platform import NO_PLATFORM, Platform, PlatformPattern, PlatformSelector
from hangar_async.oci.reference import DOCKER_HUB, Reference, is_repository, parse_registry, split_registry
from hangar_async.oci.referrers import COSIGN_TYPES, Referrer, ReferrerKind, ReferrerSelector, cosign_type
from hangar_async.oci.referrers import is_referrers_tag, kind_of, referrer_of, referrers_index, with_referrer
