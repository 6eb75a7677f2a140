"""A small set of images to try the program on: the same bytes each time."""

import random

from hangar_async.oci import Platform
from hangar_async.testing.images import Built, Compression, Layer, artifact, attestation, image, index, layer
from hangar_async.testing.memory import MemoryContent

AMD64 = Platform("linux", "amd64")
ARM64 = Platform("linux", "arm64")
ARM_V7 = Platform("linux", "arm", "v7")
WINDOWS = Platform("windows", "amd64", os_version="10.0.20348.2113")
_TEXT = """
    a acknowledgement address archive blob buffer cache channel client connection container digest directory entry
    error event file frame gateway handle header image index input journal kernel key layer level limit line list lock
    loop manifest memory message module name network node number offset order output packet part path platform pool
    port process queue range record reference region registry request reserve result retry route schedule sector
    segment server session signal size socket source stream symbol table target task thread time token tree unit value
"""
_KIB = 1 << 10


def demo_content() -> tuple[MemoryContent, list[str]]:
    """Make the images; returns the content, and their names as `REPOSITORY:TAG`.

    Takes about a second of computing, and a few MB of memory.
    """
    content = MemoryContent()
    images = _images()
    for name, image_or_index in images.items():
        content.add(name, image_or_index)
    return content, list(images)


def _images() -> dict[str, Built]:
    linux = (AMD64, ARM64)
    bases = {platform: _base(platform) for platform in (*linux, ARM_V7)}
    runtimes = {platform: _layer(f"runtime {platform}", 700, 900, "usr/lib/runtime") for platform in linux}
    web = [image([bases[platform], runtimes[platform], _app("web", platform)], platform) for platform in linux]
    api = [image([bases[platform], runtimes[platform], _app("api", platform, "zstd")], platform) for platform in linux]
    worker = [image([bases[platform], _app("worker", platform)], platform) for platform in (*linux, ARM_V7)]
    agent = [image([bases[platform], _app("agent", platform)], platform) for platform in linux]
    agent.append(image([_layer("windows", 300, 400, "Files/Windows/System32")], WINDOWS))
    tool = image([_docker(bases[AMD64]), _docker(_app("tool", AMD64))], AMD64, docker=True)
    return {
        "demo/web:1.4.2": index([*web, *map(attestation, web)]),
        "demo/api:2.0.1": index(api),
        "demo/worker:2.0.1": index(worker),
        "demo/agent:0.9": index(agent),
        "demo/tool:3.1": index([tool], docker=True),
        "demo/charts/shop:1.4.2": _chart(),
    }


def _base(platform: Platform) -> Layer:
    release = {"etc/os-release": b'NAME="Demo Linux"\nVERSION_ID="12"\n', "etc/passwd": b"root:x:0:0::/root:/bin/sh\n"}
    return layer({**release, **_files(f"base {platform}", 600, 800, "usr/lib"), "tmp/": b""})


def _app(name: str, platform: Platform, compression: Compression = "gzip") -> Layer:
    return _layer(f"{name} {platform}", 120, 200, f"opt/{name}", compression)


def _layer(seed: str, noise: int, text: int, below: str, compression: Compression = "gzip") -> Layer:
    return layer(_files(seed, noise, text, below), compression)


def _docker(layer: Layer) -> Layer:
    """Return the same layer with Docker's media type: the same blob."""
    return Layer(layer.data, "application/vnd.docker.image.rootfs.diff.tar.gzip", layer.diff_id)


def _files(seed: str, noise: int, text: int, below: str) -> dict[str, bytes]:
    """Make a program of `noise` KiB, which compresses badly, and `text` KiB of text, which compresses well."""
    source = random.Random(seed)  # noqa: S311 - nothing is secret here
    files = {f"{below}/bin/program": source.randbytes(noise * _KIB)}
    for number in range(text // 100):
        words = source.choices(_TEXT.split(), k=100 * _KIB // 7)
        files[f"{below}/share/text-{number:02}.txt"] = " ".join(words).encode()
    return files


def _chart() -> Built:
    chart = b"apiVersion: v2\nname: shop\nversion: 1.4.2\nappVersion: 1.4.2\n"
    values = b"image:\n  repository: demo/web\n  tag: 1.4.2\nreplicas: 2\n"
    packed = layer({"shop/Chart.yaml": chart, "shop/values.yaml": values})
    return artifact(
        "application/vnd.cncf.helm.config.v1+json",
        packed.data,
        "application/vnd.cncf.helm.chart.content.v1.tar+gzip",
        config=b'{"name":"shop","version":"1.4.2","apiVersion":"v2"}',
    )
