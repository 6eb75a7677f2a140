"""The files that a run has to leave; a command that did not do its work is not measured."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from benchmarks.process import RunFailed
from hangar_async.oci import media_types

Check: TypeAlias = Callable[[Path], None]
Blobs: TypeAlias = Sequence[dict[str, Any]]


def blobs_in(place: str, blobs: Blobs) -> Check:
    """All blobs are files of the right size below the place, named by their hex."""

    def check(directory: Path) -> None:
        for blob in blobs:
            path = directory / "work" / place / str(blob["digest"]).removeprefix("sha256:")
            if not path.is_file() or path.stat().st_size != blob["size"]:
                raise RunFailed(f"{path} is missing or of another size")

    return check


def held_by(registry: str, repository: str, blobs: Blobs) -> Check:
    """A registry says that a repository has all blobs, with the right sizes."""

    def check(directory: Path) -> None:
        for blob in blobs:
            url = f"http://{registry}/v2/{repository}/blobs/{blob['digest']}"
            with urllib.request.urlopen(urllib.request.Request(url, method="HEAD")) as answer:
                if int(answer.headers["Content-Length"]) != blob["size"]:
                    raise RunFailed(f"{repository} has {blob['digest']} with another size")

    return check


def tagged_at(registry: str, images: Sequence[str]) -> Check:
    """A registry has all images, each `repository:tag`."""

    def check(directory: Path) -> None:
        for image in images:
            _digest(registry, image)

    return check


def copied_to(source: str, target: str, names: Mapping[str, str]) -> None:
    """Check that a registry has images, each `repository:tag`, with the digests that they have at their source.

    `names` are those at the target, by those at the source. Raises RunFailed.
    """
    for name, copy in names.items():
        if _digest(source, name) != _digest(target, copy):
            raise RunFailed(f"{copy} is another image than {name}")


def _digest(registry: str, image: str) -> str:
    repository, _, tag = image.rpartition(":")
    url = f"http://{registry}/v2/{repository}/manifests/{tag}"
    request = urllib.request.Request(url, method="HEAD", headers={"Accept": media_types.ACCEPT})
    try:
        with urllib.request.urlopen(request) as answer:  # noqa: S310 - it is http
            return str(answer.headers["Docker-Content-Digest"])
    except OSError as error:
        raise RunFailed(f"{image} is not at the registry: {error}") from error


def file_of(name: str, size: float) -> Check:
    """A file has at least so many bytes."""

    def check(directory: Path) -> None:
        path = directory / "work" / name
        if not path.is_file() or path.stat().st_size < size:
            raise RunFailed(f"{path} is missing or too small")

    return check


def size_of(name: str) -> Callable[[Path], dict[str, float]]:
    """Measure the size of a file, as `size` in bytes."""
    return lambda directory: {"size": (directory / "work" / name).stat().st_size}


def digests_told(name: str, blobs: Blobs) -> Check:
    """A file names the digests of all blobs, a line for each."""

    def check(directory: Path) -> None:
        told = sorted(line.split()[0] for line in (directory / "work" / name).read_text().splitlines())
        if told != sorted(str(blob["digest"]).removeprefix("sha256:") for blob in blobs):
            raise RunFailed(f"{name} does not tell the digests of all blobs")

    return check
