"""The content of the corpora: images, their platforms, and the sizes of their layers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MB = 1_000_000
#: files: the files of this machine; noise: bytes that nothing can compress.
Content = Literal["files", "noise"]


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: layers of one key are one layer. `size` in bytes is about that of the blob, compressed or not."""

    key: str
    size: int
    content: Content = "files"
    gzip: bool = True


@dataclass(frozen=True, slots=True)
class Variant:
    """An image for one architecture."""

    architecture: str
    layers: tuple[Layer, ...]


@dataclass(frozen=True, slots=True)
class Image:
    """An image of one or more architectures, with Docker's media types or OCI's."""

    repository: str
    docker: bool
    variants: tuple[Variant, ...]


def _base(name: str, megabytes: int, architecture: str) -> Layer:
    return Layer(f"base/{name}/{architecture}", megabytes * MB)


def large() -> tuple[Image, ...]:
    """16 images of about 1.2 GB together: shared bases, big layers, one or two architectures, both kinds of types."""
    images = []
    for number in range(16):
        name = f"app-{number:02}"
        two = number % 3 != 0
        variants = []
        for architecture in ("amd64", "arm64") if two else ("amd64",):
            own = [
                Layer(f"{name}/{architecture}/{part}", size)
                for part, size in enumerate((13 * MB, 4 * MB, 600_000, 30_000, 300))
            ]
            if number < 8:
                own.insert(0, _base("system", 29, architecture))
            if number < 4:
                own.insert(1, _base("runtime", 52, architecture))
            elif number >= 12:
                own.insert(0, _base("other", 41, architecture))
            big = {9: 190 * MB, 10: 120 * MB, 14: 105 * MB}.get(number, 0)
            if big and architecture == "amd64":
                own.append(Layer(f"{name}/big", big))
            variants.append(Variant(architecture, tuple(own)))
        images.append(Image(f"large/{name}", number % 2 == 0, tuple(variants)))
    return tuple(images)


def lines() -> tuple[Image, ...]:
    """13 images of about 0.9 GB together: shared bases, one or two architectures, layers of 300 bytes to 48 MB."""
    images = []
    for number in range(13):
        name = f"app-{number:02}"
        variants = []
        for architecture in ("amd64", "arm64") if number % 3 != 0 else ("amd64",):
            sizes = ((8 + 3 * (number % 5)) * MB, (3 + 2 * (number % 4)) * MB, (1 + 4 * (number % 3)) * MB)
            own = [
                Layer(f"lines/{name}/{architecture}/{part}", size)
                for part, size in enumerate((*sizes, 600_000, 30_000, 300))
            ]
            if number < 6:
                own.insert(0, Layer(f"lines/system/{architecture}", 29 * MB))
            if number in (1, 2, 4):
                own.insert(1, Layer(f"lines/runtime/{architecture}", 48 * MB))
            elif number >= 9:
                own.insert(0, Layer(f"lines/other/{architecture}", 41 * MB))
            if number % 4 == 3 and architecture == "amd64":
                own.append(Layer(f"lines/{name}/data", 45 * MB))
            variants.append(Variant(architecture, tuple(own)))
        images.append(Image(f"lines/{name}", number % 2 == 0, tuple(variants)))
    return tuple(images)


def requests_of(images: tuple[Image, ...]) -> int:
    """Count the fewest requests for images: each document, each config, each layer once, and one for the registry."""
    variants = [variant for image in images for variant in image.variants]
    indexes = sum(len(image.variants) > 1 for image in images)
    return 1 + indexes + 2 * len(variants) + len({layer.key for variant in variants for layer in variant.layers})


def tiny() -> tuple[Image, ...]:
    """300 images of a few KB: as the large ones, two of three for two architectures, over bases that ten share."""
    return tuple(_small("tiny", number, ("amd64", "arm64") if number % 3 != 0 else ("amd64",)) for number in range(300))


def tiny_single() -> tuple[Image, ...]:
    """300 images of a few KB, all for one architecture: without an index, and with the fewest requests an image."""
    return tuple(_small("tiny-single", number, ("amd64",)) for number in range(300))


def _small(name: str, number: int, architectures: tuple[str, ...]) -> Image:
    variants = tuple(
        Variant(
            architecture,
            (
                Layer(f"base/{name}-{number // 10}/{architecture}", 20_000),
                Layer(f"{name}-{number}/{architecture}", 2_000),
            ),
        )
        for architecture in architectures
    )
    return Image(f"{name}/app-{number:03}", number % 2 == 0, variants)


def huge() -> tuple[Image, ...]:
    """One image of 20 layers, 210 MB each."""
    layers = tuple(Layer(f"huge/{number}", 210 * MB, "noise") for number in range(20))
    return (Image("huge/app", False, (Variant("amd64", layers),)),)


def even() -> tuple[Image, ...]:
    """60 images of 8 layers, 5 MB each, that no other one has: on any number of connections they take equally long."""
    return tuple(
        Image(
            f"even/app-{number:02}",
            False,
            (Variant("amd64", tuple(Layer(f"even/{number}/{part}", 5 * MB, "noise") for part in range(8))),),
        )
        for number in range(60)
    )


def plain() -> tuple[Image, ...]:
    """One image of three layers, 50 MB each, that are not compressed."""
    layers = tuple(Layer(f"plain/{number}", 50 * MB, gzip=False) for number in range(3))
    return (Image("plain/app", False, (Variant("amd64", layers),)),)


CORPORA: dict[str, Callable[[], tuple[Image, ...]]] = {
    "large": large,
    "lines": lines,
    "tiny": tiny,
    "tiny_single": tiny_single,
    "huge": huge,
    "even": even,
    "plain": plain,
}
