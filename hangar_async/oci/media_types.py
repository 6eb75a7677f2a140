"""Media types of manifests, indexes, configs and layers."""

DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+json"
DOCKER_SCHEMA1_SIGNED = "application/vnd.docker.distribution.manifest.v1+prettyjws"
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MANIFESTS = frozenset({DOCKER_MANIFEST, OCI_MANIFEST})
INDEXES = frozenset({DOCKER_LIST, OCI_INDEX})
SCHEMA1 = frozenset({DOCKER_SCHEMA1, DOCKER_SCHEMA1_SIGNED})
#: A manifest request accepts every kind, so that a registry never converts one. The schema 1 kinds are last: an image
#: of that kind is served unchanged and can be named in the error.
ACCEPT = ", ".join(
    [OCI_INDEX, DOCKER_LIST, OCI_MANIFEST, DOCKER_MANIFEST]
    + [f"{kind};q=0.1" for kind in (DOCKER_SCHEMA1_SIGNED, DOCKER_SCHEMA1)]
)
IMAGE_CONFIGS = frozenset(
    {"application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"}
)
_COMPRESSED_ENDINGS = ("+gzip", ".gzip", "+zstd", ".zstd", "tgz", "+bzip2", "+xz", ".zip", "+zip")
_FOREIGN = ("application/vnd.docker.image.rootfs.foreign.", "application/vnd.oci.image.layer.nondistributable.")
#: Parts of the names of documents that are of no supported kind.
_OTHER_DOCUMENTS = (".manifest.", ".index.")


def is_content(media_type: str) -> bool:
    """Tell whether an entry of an index of this type is a blob, such as a layer, and no document of any kind."""
    kind = media_type.partition(";")[0].strip().lower()
    known = not kind or kind in MANIFESTS | INDEXES | SCHEMA1
    return not known and not any(part in kind for part in _OTHER_DOCUMENTS)


def is_compressed(media_type: str) -> bool:
    """Tell by its name whether content of this type is compressed already."""
    return media_type.partition(";")[0].strip().lower().endswith(_COMPRESSED_ENDINGS)


def is_foreign(media_type: str) -> bool:
    """Tell whether layers of this type are not meant to be distributed by registries."""
    return media_type.startswith(_FOREIGN)
