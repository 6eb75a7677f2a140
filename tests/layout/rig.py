"""Caches written by hand, and short ways to read them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from hangar_async.engine.open_layout import find_archive, layout_at
from hangar_async.layout.directory import DirectoryLayout
from hangar_async.layout.files import SHARE, blob_name
from hangar_async.layout.images import LayoutImages, read_cache
from hangar_async.oci import media_types
from hangar_async.oci.digest import Digest
from hangar_async.oci.image import Image


def read(path: Path) -> LayoutImages:
    return read_cache(layout_at(path, find_archive(path), lambda: None))


def of(catalog: LayoutImages, name: str) -> Image:
    return next(image for image in catalog.images if f"/{name}:1" in image.name)


class Made:
    """A cache written by hand."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.roots: list[dict[str, Any]] = []
        self.listed: list[dict[str, Any]] = []
        (root / SHARE / "sha256").mkdir(parents=True)

    def put(self, document: dict[str, Any]) -> dict[str, Any]:
        raw = json.dumps(document).encode()
        digest = Digest.of(raw)
        (self.root / blob_name(digest)).write_bytes(raw)
        return {"mediaType": document["mediaType"], "digest": str(digest), "size": len(raw)}

    def index(self, *entries: dict[str, Any]) -> dict[str, Any]:
        return self.put({"schemaVersion": 2, "mediaType": media_types.OCI_INDEX, "manifests": list(entries)})

    def manifest(self, layers: int = 1, salt: str = "") -> dict[str, Any]:
        kind = "application/vnd.oci.image.config.v1+json"
        config = self.put({"mediaType": kind, "salt": salt})
        entries = [{"digest": f"sha256:{number:064x}", "size": 1} for number in range(layers)]
        return self.put({
            "schemaVersion": 2, "mediaType": media_types.OCI_MANIFEST, "config": config, "layers": entries,
        })  # fmt: skip

    def image(self, name: str, root: dict[str, Any], *platforms: dict[str, Any]) -> None:
        reference = f"r.io/{name}:1"
        self.roots.append({**root, "annotations": {"org.opencontainers.image.ref.name": reference}})
        listed = []
        for number, one in enumerate(platforms):
            folder = hashlib.sha256(f"{name}-{number}".encode()).hexdigest()
            (self.root / folder).mkdir()
            (self.root / folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [one]}))
            listed.append({"Digest": one["digest"], "Arch": "amd64", "OS": "linux", "Folder": folder})
        self.listed.append({"Source": f"r.io/{name}", "Tag": "1", "Images": listed})

    def read(self) -> LayoutImages:
        (self.root / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": self.roots}))
        listed = {"List": self.listed, "Version": "v1.1.0", "SavedTime": ""}
        (self.root / "saved-images-list.json").write_text(json.dumps(listed))
        return read_cache(DirectoryLayout(self.root))


BLOB = f"share/sha256/{Digest.of(b'blob').hex}"
LARGE = f"share/sha512/{'a' * 128}"
REF = "org.opencontainers.image.ref.name"


_ANNOTATIONS = {
    "containerd": "io.containerd.image.name",
    "ref": "org.opencontainers.image.ref.name",
    "kind": "kind",
    "subject": "hauler.dev/subject-digest",
}


def index_entry(number: int, media_type: str | None = media_types.OCI_MANIFEST, **annotations: str) -> dict[str, Any]:
    """Make an entry of an `index.json`."""
    return {
        **({} if media_type is None else {"mediaType": media_type}),
        "digest": str(digest(number)),
        "size": 5,
        "annotations": {_ANNOTATIONS[name]: text for name, text in annotations.items()},
    }


def digest(number: int) -> Digest:
    return Digest("sha256", f"{number:064x}")


def index(*entries: dict[str, Any], **fields: Any) -> bytes:
    return json.dumps({"schemaVersion": 2, "manifests": entries, **fields}).encode()
