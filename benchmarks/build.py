"""Build a corpus into blobs and documents, and push it to a registry.

    python -m benchmarks.build CORPUS DIRECTORY HOST:PORT

A process of its own, because a measured command inherits the peak memory of the process that starts it. `corpus.json`,
written last, names all files.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import aiohttp

from benchmarks.layers import Made, deal, make, source_files
from benchmarks.recipes import CORPORA, Image, Layer, Variant

_OCI = "application/vnd.oci.image."
_DOCKER = "application/vnd.docker."
_PIECE = 1 << 20
TAG = "1.0"
BLOBS = "blobs"
#: Of type, digest and size: what OCI calls a descriptor.
Descriptor = dict[str, Any]


class _Builder:
    """Makes the blobs of a corpus below a directory, and the documents that name them."""

    def __init__(self, images: tuple[Image, ...], directory: Path) -> None:
        self._images = images
        self._directory = directory
        self._made: dict[str, Made] = {}
        self._told: dict[str, Descriptor] = {}
        self._documents_size = 0

    def build(self) -> None:
        """Make all layers, on all processors."""
        self._directory.mkdir(parents=True, exist_ok=True)
        layers = {layer.key: layer for layer in self._layers()}
        hands = deal(layers.values(), source_files())
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            made = pool.map(lambda layer: make(layer, hands[layer.key], self._directory), layers.values())
            self._made = dict(zip(layers, made, strict=True))

    async def push(self, registry: str) -> None:
        """Push all images."""
        async with aiohttp.ClientSession(f"http://{registry}") as session:
            for image in self._images:
                blobs, manifests = self._documents(image)
                for blob in blobs:
                    self._told.setdefault(blob["digest"], {**blob, "repository": image.repository})
                self._documents_size += sum(len(raw) for _, raw in manifests)
                await _Push(session, image.repository, self._directory).image(blobs, manifests)

    def told(self) -> dict[str, Any]:
        """Return what `corpus.json` says."""
        return {
            "images": [f"{image.repository}:{TAG}" for image in self._images],
            "blobs": list(self._told.values()),
            "documents_size": self._documents_size,
        }

    def _layers(self) -> Iterator[Layer]:
        return (layer for image in self._images for variant in image.variants for layer in variant.layers)

    def _documents(self, image: Image) -> tuple[list[Descriptor], list[tuple[str, bytes]]]:
        """Return an image's blobs, and its manifests as type and bytes, the one to be tagged last."""
        blobs: list[Descriptor] = []
        manifests: list[tuple[str, bytes]] = []
        entries: list[Descriptor] = []
        for variant in image.variants:
            document = self._manifest(image, variant)
            blobs += [document["config"], *document["layers"]]
            raw = json.dumps(document, indent=2).encode()
            manifests.append((document["mediaType"], raw))
            platform = {"architecture": variant.architecture, "os": "linux"}
            entries.append({**_descriptor(document["mediaType"], raw), "platform": platform})
        if len(image.variants) > 1:
            kind = f"{_DOCKER}distribution.manifest.list.v2+json" if image.docker else f"{_OCI}index.v1+json"
            index = {"schemaVersion": 2, "mediaType": kind, "manifests": entries}
            manifests.append((kind, json.dumps(index, indent=2).encode()))
        return list({blob["digest"]: blob for blob in blobs}.values()), manifests

    def _manifest(self, image: Image, variant: Variant) -> dict[str, Any]:
        made = [self._made[layer.key] for layer in variant.layers]
        config = {
            "created": "2024-01-01T00:00:00Z",
            "architecture": variant.architecture,
            "os": "linux",
            "config": {"Labels": {"repository": image.repository}},
            "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in made]},
        }
        raw = json.dumps(config).encode()
        (self._directory / hashlib.sha256(raw).hexdigest()).write_bytes(raw)
        types = _types(image.docker)
        layers = [
            {"mediaType": types[2] if layer.gzip else types[3], "digest": one.digest, "size": one.size}
            for layer, one in zip(variant.layers, made, strict=True)
        ]
        return {"schemaVersion": 2, "mediaType": types[0], "config": _descriptor(types[1], raw), "layers": layers}


def _types(docker: bool) -> tuple[str, str, str, str]:
    """Return the types of manifest, config, gzip'd layer and plain layer."""
    if docker:
        layer = f"{_DOCKER}image.rootfs.diff.tar"
        return (
            f"{_DOCKER}distribution.manifest.v2+json",
            f"{_DOCKER}container.image.v1+json",
            f"{layer}.gzip",
            layer,
        )
    return f"{_OCI}manifest.v1+json", f"{_OCI}config.v1+json", f"{_OCI}layer.v1.tar+gzip", f"{_OCI}layer.v1.tar"


def _descriptor(kind: str, raw: bytes) -> Descriptor:
    return {"mediaType": kind, "digest": f"sha256:{hashlib.sha256(raw).hexdigest()}", "size": len(raw)}


class _Push:
    """Pushes to one repository (OCI distribution-spec, "Pushing blobs")."""

    def __init__(self, session: aiohttp.ClientSession, repository: str, directory: Path) -> None:
        self._session = session
        self._base = f"/v2/{repository}"
        self._directory = directory

    async def image(self, blobs: list[Descriptor], manifests: list[tuple[str, bytes]]) -> None:
        for blob in blobs:
            await self._blob(blob["digest"])
        for kind, raw in manifests:
            name = f"sha256:{hashlib.sha256(raw).hexdigest()}"
            await self._manifest(name, kind, raw)
        await self._manifest(TAG, *manifests[-1])

    async def _blob(self, digest: str) -> None:
        async with self._session.post(f"{self._base}/blobs/uploads/") as answer:
            answer.raise_for_status()
            place = answer.headers["Location"]
        address = place + ("&" if "?" in place else "?") + f"digest={digest}"
        with (self._directory / digest.removeprefix("sha256:")).open("rb", buffering=_PIECE) as file:
            async with self._session.put(address, data=file) as answer:
                answer.raise_for_status()

    async def _manifest(self, name: str, kind: str, raw: bytes) -> None:
        headers = {"Content-Type": kind}
        async with self._session.put(f"{self._base}/manifests/{name}", data=raw, headers=headers) as answer:
            answer.raise_for_status()


def main() -> None:
    name, directory, registry = sys.argv[1:]
    builder = _Builder(CORPORA[name](), Path(directory, BLOBS))
    builder.build()
    asyncio.run(builder.push(registry))
    Path(directory, "corpus.json").write_text(json.dumps(builder.told(), indent=1))


if __name__ == "__main__":
    main()
