"""Where images go at a destination: under which names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from hangar_async.engine.catalog import HeldImage
from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.reference import Reference, parse_registry


@dataclass(frozen=True, slots=True)
class Destination:
    """A registry, HOST[:PORT], the path before all names in it ("" for none), and the project of names without one."""

    registry: str
    prefix: str = ""
    default_project: str = ""

    @classmethod
    def parse(cls, text: str, default_project: str = "") -> Destination:
        """Read `REGISTRY[/PREFIX]`; raises UsageError naming the flag."""
        host, _, path = text.strip().strip("/").partition("/")
        try:
            registry = parse_registry(host)
            _check_path(path)
        except InvalidValue as error:
            raise UsageError(f"--destination: {error}") from error
        try:
            _check_path(default_project)
        except InvalidValue as error:
            raise UsageError(f"--default-project: {error}") from error
        return cls(registry, path, default_project)

    def of(self, image: Reference) -> Reference:
        """Where an image goes: its own registry is dropped, an image without a tag gets `sha256-<hex>`."""
        path = f"{self.prefix}/{image.repository}" if self.prefix else image.repository
        if "/" not in path and self.default_project:
            path = f"{self.default_project}/{path}"
        return Reference(self.registry, path, image.cache_tag)

    def __str__(self) -> str:
        return f"{self.registry}/{self.prefix}" if self.prefix else self.registry


def _check_path(path: str) -> None:
    if path:
        Reference("localhost", path)  # raises InvalidValue


def name_all(images: Iterable[HeldImage], destination: Destination) -> list[tuple[HeldImage, Reference]]:
    """Name each image at its destination; raises UsageError where two would have one name, or one has none."""
    named: dict[str, tuple[HeldImage, Reference]] = {}
    for image in images:
        try:
            where = destination.of(image.reference)
        except InvalidValue as error:
            raise UsageError(f"{image.name} cannot go to {destination}: {error}") from error
        other = named.setdefault(f"{where.name}:{where.tag}", (image, where))[0]
        if other is not image:
            raise UsageError(
                f"{other.name} and {image.name} would both be {where.name}:{where.tag}: load them apart, with --image, "
                "or to two prefixes"
            )
    return list(named.values())
