"""Images that are built in memory: layers, configs, manifests and indexes, the same bytes for the same input."""

import io
import json
import tarfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import zstandard

from hangar_async.oci import NO_PLATFORM, Descriptor, Digest, Platform, media_types

Compression = Literal["gzip", "zstd", "none"]
_OCI = "application/vnd.oci.image.layer.v1.tar"
_OCI_FOREIGN = "application/vnd.oci.image.layer.nondistributable.v1.tar"
_DOCKER = "application/vnd.docker.image.rootfs.diff.tar"
_DOCKER_FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar"
_BINARIES = frozenset({"bin", "sbin"})


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: its bytes, its type, and the digest of its tar before it was compressed.

    One with `urls` is foreign: a manifest names it, and a registry does not hold it.
    """

    data: bytes = field(repr=False)
    media_type: str
    diff_id: Digest
    urls: tuple[str, ...] = ()
    annotations: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def digest(self) -> Digest:
        """The digest of its bytes."""
        return Digest.of(self.data)

    @property
    def fields(self) -> dict[str, Any]:
        """Its descriptor in a manifest."""
        descriptor = Descriptor(self.media_type, self.digest, len(self.data))
        urls = {"urls": list(self.urls)} if self.urls else {}
        fields = descriptor.to_json()
        return {**fields, **urls, **({"annotations": dict(self.annotations)} if self.annotations else {})}


def layer(
    files: Mapping[str, bytes], compression: Compression = "gzip", *, docker: bool = False, urls: Sequence[str] = ()
) -> Layer:
    """Make a layer of these files, with OCI's media type or Docker's; with `urls` it is a foreign one."""
    tar = tar_of(files)
    kind = (_DOCKER_FOREIGN if urls else _DOCKER) if docker else (_OCI_FOREIGN if urls else _OCI)
    if compression == "none":
        return Layer(tar, kind, Digest.of(tar), tuple(urls))
    data = _gzip(tar) if compression == "gzip" else zstandard.ZstdCompressor(level=3).compress(tar)
    return Layer(data, f"{kind}{'.' if docker else '+'}{compression}", Digest.of(tar), tuple(urls))


def tar_of(files: Mapping[str, bytes]) -> bytes:
    """Make a tar of these files, each after the directories that it is in, in the order of their names.

    A name that ends in a slash is an empty directory. Owner and times are 0; a file in a `bin` is executable.
    """
    stream = io.BytesIO()
    made: set[str] = set()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, data in sorted(files.items()):
            path = PurePosixPath(name)
            above = [str(parent) for parent in reversed(path.parents) if str(parent) != "."]
            for directory in [*above, str(path)] if name.endswith("/") else above:
                if directory not in made:
                    made.add(directory)
                    entry = tarfile.TarInfo(directory)
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                    tar.addfile(entry)
            if not name.endswith("/"):
                entry = tarfile.TarInfo(str(path))
                entry.size, entry.mode = len(data), 0o755 if path.parent.name in _BINARIES else 0o644
                tar.addfile(entry, io.BytesIO(data))
    return stream.getvalue()


def files_below(directory: Path, prefix: str = "") -> dict[str, bytes]:
    """Read the regular files below a directory, by `prefix` and their names relative to it; links are left out."""
    return {
        f"{prefix}{path.relative_to(directory).as_posix()}": path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }


def _gzip(data: bytes) -> bytes:
    # Not the gzip module: the system in its header differs between versions of Python.
    deflate = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    body = deflate.compress(data) + deflate.flush()
    end = zlib.crc32(data).to_bytes(4, "little") + (len(data) & 0xFFFFFFFF).to_bytes(4, "little")
    return b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xff" + body + end


CREATED = "2024-01-02T03:04:05Z"
_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
_IN_TOTO = "application/vnd.in-toto+json"
_PREDICATE = "https://slsa.dev/provenance/v0.2"


@dataclass(frozen=True, slots=True)
class Built:
    """A manifest or index and all that it needs.

    `documents` are raw manifests and indexes by digest with their types, children before parents, this one last;
    `blobs` the configs and layers. Foreign layers are in none of them. `platform` is the one of its entry in an index.
    """

    raw: bytes = field(repr=False)
    media_type: str
    documents: Mapping[Digest, tuple[str, bytes]] = field(repr=False)
    blobs: Mapping[Digest, bytes] = field(repr=False)
    platform: Platform | None = None

    @property
    def digest(self) -> Digest:
        """Its digest."""
        return Digest.of(self.raw)

    @property
    def descriptor(self) -> Descriptor:
        """Its descriptor."""
        return Descriptor(self.media_type, self.digest, len(self.raw), self.platform)


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """An entry of an index to be made; `with_platform` False leaves the platform out."""

    built: Built
    annotations: Mapping[str, str] = field(default_factory=dict)
    with_platform: bool = True

    @property
    def fields(self) -> dict[str, Any]:
        """Its descriptor in the index."""
        fields = self.built.descriptor.to_json(self.annotations)
        if self.built.platform is not None and self.built.platform.unknown:
            fields["platform"] = self.built.platform.fields
        if not self.with_platform:
            fields.pop("platform", None)
        return fields


def image(
    layers: Sequence[Layer],
    platform: Platform,
    *,
    created: str = CREATED,
    docker: bool = False,
    labels: Mapping[str, str] | None = None,
) -> Built:
    """Make an image for one platform, as an OCI manifest or as Docker's schema 2."""
    runs: dict[str, Any] = {"Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]}
    if labels:
        runs["Labels"] = dict(labels)
    config = {
        "created": created,
        **platform.fields,
        "config": runs,
        "rootfs": {"type": "layers", "diff_ids": [str(layer.diff_id) for layer in layers]},
        "history": [{"created": created, "created_by": f"COPY {layer.diff_id.short} /"} for layer in layers],
    }
    kind = media_types.DOCKER_MANIFEST if docker else media_types.OCI_MANIFEST
    return _manifest(kind, _dump(config), _DOCKER_CONFIG if docker else _OCI_CONFIG, layers, platform)


def artifact(config_type: str, data: bytes, data_type: str, *, config: bytes = b"{}") -> Built:
    """Make an artifact that is no image, such as a Helm chart: a config of its own type, and one layer."""
    return _manifest(media_types.OCI_MANIFEST, config, config_type, [Layer(data, data_type, Digest.of(data))], None)


def attestation(subject: Built) -> IndexEntry:
    """Make an attestation manifest for an image, and its entry in the index, as BuildKit does."""
    statement = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "predicateType": _PREDICATE,
        "subject": [{"name": "_", "digest": {subject.digest.algorithm: subject.digest.hex}}],
        "predicate": {"builder": {"id": ""}, "buildType": "https://mobyproject.org/buildkit@v1", "materials": []},
    }
    data = _dump(statement)
    proof = Layer(data, _IN_TOTO, Digest.of(data), annotations={"in-toto.io/predicate-type": _PREDICATE})
    rootfs = {"type": "layers", "diff_ids": [str(proof.digest)]}
    config = _dump({**NO_PLATFORM.fields, "config": {}, "rootfs": rootfs})
    built = _manifest(media_types.OCI_MANIFEST, config, _OCI_CONFIG, [proof], NO_PLATFORM)
    annotations = {
        "vnd.docker.reference.digest": str(subject.digest),
        "vnd.docker.reference.type": "attestation-manifest",
    }
    return IndexEntry(built, annotations)


def index(members: Iterable[Built | IndexEntry], *, docker: bool = False) -> Built:
    """Make an OCI index, or Docker's manifest list, of these; indexes may be among them."""
    entries = []
    documents: dict[Digest, tuple[str, bytes]] = {}
    blobs: dict[Digest, bytes] = {}
    for item in members:
        member = item if isinstance(item, IndexEntry) else IndexEntry(item)
        entries.append(member.fields)
        documents.update(member.built.documents)
        blobs.update(member.built.blobs)
    kind = media_types.DOCKER_LIST if docker else media_types.OCI_INDEX
    raw = _dump({"schemaVersion": 2, "mediaType": kind, "manifests": entries})
    return Built(raw, kind, {**documents, Digest.of(raw): (kind, raw)}, blobs)


def _manifest(kind: str, config: bytes, config_type: str, layers: Sequence[Layer], platform: Platform | None) -> Built:
    described = Descriptor(config_type, Digest.of(config), len(config)).to_json()
    fields = [layer.fields for layer in layers]
    raw = _dump({"schemaVersion": 2, "mediaType": kind, "config": described, "layers": fields})
    blobs = {Digest.of(config): config} | {layer.digest: layer.data for layer in layers if not layer.urls}
    return Built(raw, kind, {Digest.of(raw): (kind, raw)}, blobs, platform)


def _dump(document: Mapping[str, Any]) -> bytes:
    # Indented as Docker writes it: a program that writes it again in another form changes its digest.
    return json.dumps(document, indent=3).encode()
