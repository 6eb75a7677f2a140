"""One built image of every kind, over shared bases."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hangar_async.oci.platform import Platform
from hangar_async.testing.images import Built, IndexEntry, Layer, artifact, attestation, image, index, layer

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64", "v8")
ARM_V7 = Platform("linux", "arm", "v7")
WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.2113")
WINDOWS_OLD = Platform("windows", "amd64", os_version="10.0.17763.5329")
_DOCKER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"
_NOISE = 300_000
_TEXT = 20_000


def tree(seed: str, noise: int = _NOISE) -> dict[str, bytes]:
    """Make files: a program of `noise` bytes that nothing compresses, and text that everything does."""
    return {
        "usr/bin/program": random.Random(seed).randbytes(noise),
        "etc/motd": f"welcome to {seed}\n".encode() * _TEXT,
        f"srv/{'long-' * 30}name/größe.txt": b"a name that no plain tar header holds\n",
        "tmp/": b"",
    }


def base(platform: Platform = AMD64) -> Layer:
    """The layer that images for a platform share."""
    return layer(tree(f"base {platform}"))


def foreign_layer() -> Layer:
    """A layer that registries do not hold."""
    return layer({"Files/license.txt": b"elsewhere\n"}, docker=True, urls=("http://127.0.0.1:9/layer",))


def library() -> Mapping[str, Built]:
    """Build all kinds, by name; the same bytes each time."""
    bases = {platform: base(platform) for platform in (AMD64, ARM64, ARM_V7)}

    def linux(name: str, platform: Platform, *, docker: bool = False) -> Built:
        below = replace(bases[platform], media_type=_DOCKER_GZIP) if docker else bases[platform]
        own = layer({f"opt/{name}": f"{name} on {platform}\n".encode() * 100}, docker=docker)
        return image([below, own], platform, docker=docker, labels={"name": name})

    three = [linux("multi", one) for one in bases]
    two = [linux("pair", one) for one in (AMD64, ARM64)]
    windows = [image([layer(tree(f"windows {one}", 1000))], one) for one in (WINDOWS, WINDOWS_OLD)]
    return {
        "oci": linux("oci", AMD64),
        "docker": linux("docker", AMD64, docker=True),
        "zstd": image([bases[AMD64], layer(tree("zstd"), "zstd")], AMD64),
        "plain": image([layer(tree("plain"), "none"), layer({"last": b"1"}, "none")], AMD64),
        "empty": image([], AMD64),
        "multi": index(three),
        "docker-list": index([linux("list", one, docker=True) for one in (AMD64, ARM64)], docker=True),
        "attested": index([*two, *(attestation(one) for one in two)]),
        "nested": index([index(two), linux("nested", ARM_V7)]),
        "no-platform": index([IndexEntry(one, with_platform=False) for one in two]),
        "windows": index([*windows, linux("windows", AMD64)]),
        "foreign": image([foreign_layer(), layer({"app": b"1"}, docker=True)], WINDOWS, docker=True),
        "artifact": artifact(
            "application/vnd.cncf.helm.config.v1+json",
            layer({"chart/Chart.yaml": b"apiVersion: v2\nname: chart\nversion: 1.0.0\n"}).data,
            "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
            config=b'{"name":"chart","version":"1.0.0"}',
        ),
    }


def small(name: str, *layers: Layer, platform: Platform = AMD64, **keywords: Any) -> Built:
    """An image with a layer of its own over others."""
    return image([*layers, layer({f"{name}.txt": name.encode() * 50})], platform, labels={"name": name}, **keywords)
