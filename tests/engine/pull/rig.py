"""Helpers of this room's tests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hangar_async.engine.events import Event
from hangar_async.engine.reports import Report
from hangar_async.engine.save import save
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.manifest import Descriptor
from hangar_async.testing.images import Built, index, layer
from tests.engine.rig import options
from tests.fakes.clock import FakeClock
from tests.fakes.images import ARM64, small

BASE = layer({"base": b"base" * 5000})


def app(number: int) -> Built:
    return index([small(f"app{number}", BASE), small(f"arm{number}", BASE, platform=ARM64)])


async def bring(tmp_path: Path, *images: str, events: list[Event] | None = None, **keywords: Any) -> Report:
    """Save images into an archive, by a clock on which nothing waits."""
    values = {"format": "gzip", "destination": tmp_path / "out.tar.gz", **keywords}
    observe = (events if events is not None else []).append
    return await save(options(tmp_path, *images, **values), observe, clock=FakeClock().clock)


def changed(built: Built, **fields: Any) -> Built:
    """The same index with other fields in each of its entries; None removes a field."""
    document = json.loads(built.raw)
    for entry in document["manifests"]:
        entry.update(fields)
    document["manifests"] = [
        {name: value for name, value in entry.items() if value is not None} for entry in document["manifests"]
    ]
    return made(document, built.documents, built.blobs)


def changed_entry(built: Built, place: int, **fields: Any) -> Built:
    """The same index with other fields in the entry at this place."""
    document = json.loads(built.raw)
    document["manifests"][place].update(fields)
    return made(document, built.documents, built.blobs)


def buildkit_cache(*images: Built) -> Built:
    """A cache of BuildKit: an index of the layers of images, a config of its own, and whole images on request."""
    layers = [layer({f"{name}.txt": name.encode() * 100}) for name in ("first", "second")]
    config = b'{"layers":[],"records":[]}'
    kind = "application/vnd.buildkit.cacheconfig.v0"
    entries = [*(one.fields for one in layers), Descriptor(kind, Digest.of(config), len(config)).to_json()]
    entries += [image.descriptor.to_json() for image in images]
    blobs = {one.digest: one.data for one in layers} | {Digest.of(config): config}
    documents = {digest: document for image in images for digest, document in image.documents.items()}
    blobs |= {digest: data for image in images for digest, data in image.blobs.items()}
    return made({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": entries}, documents, blobs)


def made(
    document: Mapping[str, Any],
    documents: Mapping[Digest, tuple[str, bytes]] | None = None,
    blobs: Mapping[Digest, bytes] | None = None,
) -> Built:
    """An index of any fields, over documents and blobs."""
    raw = json.dumps(document).encode()
    kind = document["mediaType"]
    return Built(raw, kind, {**(documents or {}), Digest.of(raw): (kind, raw)}, blobs or {})
