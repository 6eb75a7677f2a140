"""Caches and layouts made by hand, of images under any names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from hangar_async.layout.files import (
    BLOBS,
    EPOCH,
    INDEX_NAME,
    MARKER_NAME,
    SHARE,
    blob_name,
    cache_files,
    folder_files,
    folder_names,
)
from hangar_async.oci.image import Image, ImagePlatform
from hangar_async.oci.manifest import Descriptor, Index, parse_manifest
from hangar_async.oci.platform import NO_PLATFORM
from hangar_async.oci.reference import Reference
from hangar_async.testing.images import Built


def make_cache(root: Path, images: Mapping[str, Built]) -> Path:
    """Write a cache as `save` leaves it, of images under any names."""
    saved = [_saved(Reference.parse(name), built) for name, built in images.items()]
    files = cache_files(saved, EPOCH)
    for image in saved:
        for platform in image.platforms:
            files |= folder_files(platform)
    for built in images.values():
        files |= {blob_name(digest): raw for digest, (_, raw) in built.documents.items()}
        files |= {blob_name(digest): data for digest, data in built.blobs.items()}
    _write(root, files)
    (root / BLOBS).symlink_to(SHARE)
    return root


def make_layout(root: Path, entries: Iterable[tuple[Built, Mapping[str, str]]]) -> Path:
    """Write an OCI image layout: its images, and the annotations of each in `index.json`."""
    listed = list(entries)
    manifests = [built.descriptor.to_json(annotations) for built, annotations in listed]
    files: dict[str, bytes] = {
        MARKER_NAME: b'{"imageLayoutVersion": "1.0.0"}',
        INDEX_NAME: dump({"schemaVersion": 2, "manifests": manifests}),
    }
    for built, _ in listed:
        for digest, data in {**{one: raw for one, (_, raw) in built.documents.items()}, **built.blobs}.items():
            files[f"blobs/{digest.algorithm}/{digest.hex}"] = data
    _write(root, files)
    return root


def dump(document: Any) -> bytes:
    return json.dumps(document, indent=1).encode()


def _saved(reference: Reference, built: Built) -> Image:
    found: dict[Any, Descriptor] = {}
    for kind, raw in built.documents.values():
        document = parse_manifest(raw, kind)
        if isinstance(document, Index):
            found |= {one.digest: one for one in document.manifests if one.attests is None and not one.is_index}
    found = found or {built.digest: built.descriptor}
    manifests = [(one.digest, one.platform or NO_PLATFORM) for one in found.values()]
    folders = folder_names(reference, manifests)
    platforms = tuple(
        ImagePlatform(Descriptor(one.media_type, one.digest, one.size, platform), folder)
        for one, (_, platform), folder in zip(found.values(), manifests, folders, strict=True)
    )
    return Image(reference, built.descriptor, platforms)


def _write(root: Path, files: Mapping[str, bytes]) -> None:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data)
