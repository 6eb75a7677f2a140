"""Sources of images as other programs make them, made by hand of images that are built in memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import tarfile
import zipfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import zstandard

from hangar_async.layout.files import INDEX_NAME, MARKER, MARKER_NAME
from hangar_async.oci import Descriptor
from hangar_async.oci.manifest import Manifest, parse_manifest
from hangar_async.testing.images import Built

#: The files of a source, by their names; a text is the target of a link.
Files = Mapping[str, bytes | str]
NAME = "registry.example.com/team/app:1"
#: The compressions that a tar comes in.
COMPRESSIONS: Mapping[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gzip": lambda data: gzip.compress(data, 1, mtime=0),
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": lambda data: bz2.compress(data, 1),
}


def tar(files: Files, prefix: str = "") -> bytes:
    """Make a tar of files and links, in their order."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as made:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"{prefix}{name}")
            if isinstance(content, str):
                entry.type, entry.linkname = tarfile.SYMTYPE, content
                made.addfile(entry)
            else:
                entry.size = len(content)
                made.addfile(entry, io.BytesIO(content))
    return stream.getvalue()


def zipped(files: Files, method: int = zipfile.ZIP_STORED) -> bytes:
    """Make a zip of files, in their order."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as made:
        made.writestr("share/", b"")
        for name, content in files.items():
            made.writestr(name, content)
    return stream.getvalue()


def unpacked(root: Path, files: Files) -> Path:
    """Write files below a directory."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def _contents(built: Built) -> dict[Any, bytes]:
    return {**{digest: raw for digest, (_, raw) in built.documents.items()}, **built.blobs}


def oci(entries: Iterable[tuple[Built, Mapping[str, str]]]) -> dict[str, bytes]:
    """The files of an OCI image layout of images with these annotations."""
    listed = list(entries)
    manifests = [built.descriptor.to_json(annotations) for built, annotations in listed]
    index = json.dumps({"schemaVersion": 2, "manifests": manifests}).encode()
    blobs = {f"blobs/{d.algorithm}/{d.hex}": data for built, _ in listed for d, data in _contents(built).items()}
    return {**blobs, MARKER_NAME: MARKER, INDEX_NAME: index}


def named_oci(built: Built) -> dict[str, bytes]:
    """The files of an OCI image layout of one image with a full name."""
    return oci([(built, {"io.containerd.image.name": NAME})])


def part_of(built: Built, part: Built) -> dict[str, bytes]:
    """The files of `docker save` of Docker 29 for one platform: the whole index, and of its manifests one.

    There is a `manifest.json` for older versions too.
    """
    files = named_oci(built)
    kept = {*part.documents, *part.blobs, built.digest}
    for digest in _contents(built).keys() - kept:
        del files[f"blobs/{digest.algorithm}/{digest.hex}"]
    manifest = parse_manifest(part.raw, part.media_type)
    assert isinstance(manifest, Manifest)
    names = [f"blobs/sha256/{one.digest.hex}" for one in (manifest.config, *manifest.layers)]
    listed = [{"Config": names[0], "RepoTags": [NAME], "Layers": names[1:]}]
    return {**files, "manifest.json": json.dumps(listed).encode()}


def docker(built: Built, *, old: bool = False, tags: Iterable[str] = (NAME,)) -> dict[str, bytes | str]:
    """The files of a docker-archive of an image of one platform whose layers are plain tars.

    The `old` form has a directory for each layer, in which it may be a link; the new one has files by their digests.
    """
    manifest = parse_manifest(built.raw, built.media_type)
    assert isinstance(manifest, Manifest)
    files: dict[str, bytes | str] = {}
    names = []
    for number, layer in enumerate(manifest.layers):
        name = f"{number:064x}/layer.tar" if old else f"{layer.digest.hex}.tar"
        content: bytes | str = built.blobs[layer.digest]
        if old:
            if number:
                files[f"real/{number}.tar"] = content
                content = f"../real/{number}.tar"
            files[f"{number:064x}/VERSION"] = b"1.0"
            files[f"{number:064x}/json"] = b"{}"
        files[name] = content
        names.append(name)
    config = f"{manifest.config.digest.hex}.json"
    files[config] = built.blobs[manifest.config.digest]
    files["manifest.json"] = json.dumps([{"Config": config, "RepoTags": list(tags), "Layers": names}]).encode()
    files["repositories"] = b"{}"
    return files


def docker_before_1_10(built: Built, tags: Mapping[str, str] | None = None) -> dict[str, bytes]:
    """The files of `docker save` before Docker 1.10 of an image of plain layers; `tags` are by their repositories."""
    manifest = parse_manifest(built.raw, built.media_type)
    assert isinstance(manifest, Manifest)
    files: dict[str, bytes] = {}
    parent: dict[str, str] = {}
    for number, layer in enumerate(manifest.layers, 1):
        name = f"{number:064x}"
        made = {"id": name, **parent, "created": f"2015-01-0{number}T00:00:00Z", "architecture": "amd64", "os": "linux"}
        command = {"container_config": {"Cmd": ["/bin/sh", "-c", f"step {number}"]}, "config": {"Cmd": ["run"]}}
        files[f"{name}/VERSION"] = b"1.0"
        files[f"{name}/json"] = json.dumps({**made, **command, "Size": 5}).encode()
        files[f"{name}/layer.tar"] = built.blobs[layer.digest]
        parent = {"parent": name}
    if tags is None:
        return files
    return {**files, "repositories": json.dumps({one: {tag: name} for one, tag in tags.items()}).encode()}


def skopeo_directory(built: Built) -> dict[str, bytes]:
    """The files of a directory as skopeo makes them of an image, with `--all`."""
    files = {"version": b"Directory Transport Version: 1.1\n", "manifest.json": built.raw}
    for digest, (_, raw) in built.documents.items():
        if digest != built.digest:
            files[f"{digest.hex}.manifest.json"] = raw
    return files | {digest.hex: data for digest, data in built.blobs.items()}


def hangar_zip(source: str, tag: str, built: Built, version: str = "v1.2.0") -> dict[str, bytes]:
    """The files of an archive of Hangar 1.7 or later, of one image."""
    files = {f"share/{d.algorithm}/{d.hex}": data for d, data in _contents(built).items()}
    images = []
    for digest, (kind, raw) in built.documents.items():
        document = parse_manifest(raw, kind)
        if not isinstance(document, Manifest):
            continue
        config = json.loads(built.blobs[document.config.digest])
        entry = Descriptor(kind, digest, len(raw)).to_json()
        files[f"{digest.hex}/index.json"] = json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
        files[f"{digest.hex}/oci-layout"] = MARKER
        images.append({"arch": config["architecture"], "os": config["os"], "digest": str(digest), "mediaType": kind})
    listed = [{"source": source, "tag": tag, "archList": [], "images": images}]
    index = {"list": listed, "version": version, "time": "2025-01-02T03:04:05.678Z"}
    return {**files, INDEX_NAME: json.dumps(index).encode()}


def haul(built: Built, signature: Built) -> dict[str, bytes]:
    """The files of a haul: an OCI image layout whose entries have kinds, one of them a signature of the image."""
    kind = "dev.cosignproject.cosign/image"
    image = {
        "io.containerd.image.name": NAME,
        "org.opencontainers.image.ref.name": NAME.partition("/")[2],
        "kind": kind,
    }
    return oci([(built, image), (signature, {**image, "kind": "dev.cosignproject.cosign/sigs"})])
