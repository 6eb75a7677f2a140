"""Mirrors: other places where the images of a registry may be had.

Source: containers-registries.conf(5), "NAMESPACED [[registry]] SETTINGS" and "REMAPPING AND MIRRORING REGISTRIES".
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from hangar_async.errors import InvalidValue, UsageError
from hangar_async.oci.reference import Reference, parse_registry

_LARGEST = 4 << 20
Pull = Literal["all", "digest-only", "tag-only"]


@dataclass(frozen=True, slots=True)
class Mirror:
    """One place: `location` is HOST[:PORT][/PATH]; `pull` says which references it is asked for."""

    location: str
    insecure: bool = False
    pull: Pull = "all"

    @property
    def registry(self) -> str:
        """HOST[:PORT], normalised."""
        return parse_registry(self.location.partition("/")[0])

    def serves(self, image: Reference) -> bool:
        """Whether it is to be asked for this image."""
        return self.pull == "all" or (self.pull == "digest-only") == (image.digest is not None)


@dataclass(frozen=True, slots=True)
class Route:
    """The mirrors of what lies below `prefix`, HOST[:PORT][/PATH]; `location` is where it really is, if elsewhere."""

    prefix: str
    mirrors: tuple[Mirror, ...]
    location: Mirror | None = None
    blocked: bool = False

    def rest(self, image: Reference) -> str | None:
        """What of an image's name is behind the prefix; None where it is not below it."""
        name = image.name
        if name == self.prefix or name.startswith(f"{self.prefix}/"):
            return name[len(self.prefix) :].strip("/")
        host = image.registry.partition(":")[0]
        if self.prefix.startswith("*.") and (host.endswith(self.prefix[1:])):
            return image.repository
        return None


@dataclass(frozen=True, slots=True)
class Mirrors:
    """All routes; the one of the longest prefix counts for an image."""

    routes: tuple[Route, ...] = ()

    @property
    def insecure(self) -> frozenset[str]:
        """The registries whose TLS is not verified, and which may be asked by plain HTTP."""
        places = [place for route in self.routes for place in (*route.mirrors, route.location) if place is not None]
        return frozenset(place.registry for place in places if place.insecure)

    def sources(self, image: Reference) -> tuple[Reference, ...]:
        """Where an image is asked for, in this order: at the mirrors, then at the registry itself.

        Raises UsageError for an image whose registry is blocked.
        """
        found = [(route, rest) for route in self.routes if (rest := route.rest(image)) is not None]
        if not found:
            return (image,)
        route, rest = max(found, key=lambda one: len(one[0].prefix))
        if route.blocked:
            raise UsageError(f"{image} is not to be had: the settings of mirrors block {route.prefix}")
        places = [mirror for mirror in route.mirrors if mirror.serves(image)]
        sources = [_at(mirror.location, rest, image) for mirror in places]
        sources.append(_at(route.location.location, rest, image) if route.location else image)
        return tuple(dict.fromkeys(sources))


NO_MIRRORS = Mirrors()


def parse_mirror(text: str) -> Route:
    """Read `REGISTRY[/PATH]=MIRROR[/PATH]`; raises InvalidValue."""
    prefix, equals, location = text.partition("=")
    if not equals:
        raise InvalidValue(f"{text!r} is no mirror: write REGISTRY=MIRROR, such as docker.io=mirror.local:5000")
    return Route(_place(prefix), (Mirror(_place(location)),))


def join_routes(routes: Iterable[Route]) -> Mirrors:
    """Put routes together; several of one prefix are one, with their mirrors in order."""
    joined: dict[str, Route] = {}
    for route in routes:
        known = joined.get(route.prefix, Route(route.prefix, ()))
        mirrors, blocked = (*known.mirrors, *route.mirrors), known.blocked or route.blocked
        joined[route.prefix] = Route(route.prefix, mirrors, known.location or route.location, blocked)
    return Mirrors(tuple(joined.values()))


class _Place(msgspec.Struct):
    location: str = ""
    insecure: bool = False
    pull: Annotated[Pull, msgspec.Meta()] = msgspec.field(name="pull-from-mirror", default="all")


class _Registry(msgspec.Struct):
    prefix: str = ""
    location: str = ""
    insecure: bool = False
    blocked: bool = False
    by_digest: bool = msgspec.field(name="mirror-by-digest-only", default=False)
    mirror: list[_Place] = []


class _File(msgspec.Struct):
    registry: list[_Registry] = []


def read_registries_conf(path: Path) -> Mirrors:
    """Read a `registries.conf`, version 2; what has nothing to do with mirrors is passed over.

    Raises UsageError that names the file for one that cannot be read.
    """
    try:
        with path.open("rb") as file:
            text = file.read(_LARGEST).decode()
        document = msgspec.convert(tomllib.loads(text), _File)
        return join_routes(_route(entry) for entry in document.registry)
    except OSError as error:
        raise UsageError(f"cannot read the mirrors in {path}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:  # TOMLDecodeError, UnicodeDecodeError, InvalidValue
        raise UsageError(f"cannot read the mirrors in {path}: {error}") from error


def _route(entry: _Registry) -> Route:
    prefix = entry.prefix or entry.location
    if not prefix:
        raise InvalidValue("a [[registry]] has neither a prefix nor a location")
    wild = prefix.startswith("*.") and "/" not in prefix
    location = entry.location or ("" if wild else prefix)
    mirrors = tuple(
        Mirror(_place(one.location), one.insecure, "digest-only" if entry.by_digest else one.pull)
        for one in entry.mirror
    )
    place = Mirror(_place(location), entry.insecure) if location else None
    return Route(prefix if wild else _place(prefix), mirrors, place, entry.blocked)


def _place(text: str) -> str:
    """Check a HOST[:PORT][/PATH], and normalise its host."""
    host, slash, path = text.strip().rstrip("/").partition("/")
    # A name of one label alone is a host here; in an image's name it would be a part of the repository.
    registry = parse_registry(f"{host}:443" if host.isalnum() and host != "localhost" else host)
    if slash:
        Reference("localhost", path)  # checks it
    return f"{registry}{slash}{path}"


def _at(location: str, rest: str, image: Reference) -> Reference:
    registry, _, path = location.partition("/")
    repository = "/".join(part for part in (path, rest) if part)
    return Reference(registry, repository, image.tag, image.digest)
