"""The settings of registries: how they are asked, and the mirrors in front of them."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from hangar_async.errors import CredentialError, InvalidValue, UsageError
from hangar_async.filesystem import read_bounded
from hangar_async.oci import Reference, parse_registry

#: The most bytes of a `registries.conf`, and the most registries and mirrors in it.
_LARGEST = 4 << 20
_MOST_PLACES = 10_000
Pull = Literal["all", "digest-only", "tag-only"]


@dataclass(frozen=True, slots=True)
class Mirror:
    """One mirror: `location` is HOST[:PORT][/PATH]; `pull` says which references are pulled from it."""

    location: str
    insecure: bool = False
    pull: Pull = "all"

    @property
    def registry(self) -> str:
        """HOST[:PORT], normalised."""
        return parse_registry(self.location.partition("/")[0])

    def serves(self, image: Reference) -> bool:
        """Tell whether this image is pulled from it."""
        return self.pull == "all" or (self.pull == "digest-only") == (image.digest is not None)


@dataclass(frozen=True, slots=True)
class Route:
    """The mirrors of all names below `prefix`, HOST[:PORT][/PATH]; `location` stands for the prefix in requests."""

    prefix: str
    mirrors: tuple[Mirror, ...]
    location: Mirror | None = None
    blocked: bool = False

    def rest(self, image: Reference) -> str | None:
        """Return the name of an image without the prefix; None for an image that is not below it."""
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
    def registries(self) -> frozenset[str]:
        """All registries that the settings name, but for wildcards."""
        places = [place.registry for route in self.routes for place in (*route.mirrors, route.location) if place]
        prefixes = [route.prefix.partition("/")[0] for route in self.routes if not route.prefix.startswith("*.")]
        return frozenset((*places, *prefixes))

    @property
    def insecure(self) -> frozenset[str]:
        """The registries whose TLS is not verified, and which may be asked by plain HTTP."""
        places = [place for route in self.routes for place in (*route.mirrors, route.location) if place is not None]
        return frozenset(place.registry for place in places if place.insecure)

    def sources(self, image: Reference) -> tuple[Reference, ...]:
        """Return the names to pull an image by, in this order: at the mirrors, then at the registry itself.

        Raises UsageError for an image whose registry is blocked.
        """
        routes = [(route, rest) for route in self.routes if (rest := route.rest(image)) is not None]
        if not routes:
            return (image,)
        route, rest = max(routes, key=lambda pair: len(pair[0].prefix))
        if route.blocked:
            raise UsageError(f"{image} is blocked: the mirror settings block {route.prefix}")
        sources = [_at(mirror.location, rest, image) for mirror in route.mirrors if mirror.serves(image)]
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
    """Join routes; several of one prefix become one, with their mirrors in order."""
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
    """Read the mirrors of a `registries.conf`, version 2.

    Raises UsageError that names the file for one that cannot be read.
    """
    try:
        document = _decoded(read_bounded(path, _LARGEST))
        return join_routes(_route(entry) for entry in document.registry)
    except OSError as error:
        raise UsageError(f"cannot read the mirrors in {path}: {error.strerror}") from error
    except (ValueError, msgspec.ValidationError) as error:  # TOMLDecodeError, UnicodeDecodeError, InvalidValue
        raise UsageError(f"cannot read the mirrors in {path}: {error}") from error


def _decoded(content: bytes) -> _File:
    import tomllib  # most runs have no such file

    try:
        document = msgspec.convert(tomllib.loads(content.decode()), _File)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if len(document.registry) + sum(len(entry.mirror) for entry in document.registry) > _MOST_PLACES:
        raise ValueError(f"it names more than {_MOST_PLACES:,} registries and mirrors")
    return document


def _route(entry: _Registry) -> Route:
    prefix = entry.prefix or entry.location
    if not prefix:
        raise InvalidValue("a [[registry]] has neither a prefix nor a location")
    wild = prefix.startswith("*.") and "/" not in prefix
    location = entry.location or ("" if wild else prefix)
    mirrors = tuple(
        Mirror(_place(mirror.location), mirror.insecure, "digest-only" if entry.by_digest else mirror.pull)
        for mirror in entry.mirror
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


#: Control characters, and bytes that are no text.
_NOT_SENT = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def checked_secret(text: str, name: str) -> str:
    """Return a user name, password or token; raises CredentialError, without its text, where HTTP cannot carry it."""
    if _NOT_SENT.search(text):
        raise CredentialError(f"the {name} has a line end, or another character that cannot be sent")
    return text


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxy URLs by the scheme of the request, and the hosts that are asked directly (`NO_PROXY`, split)."""

    http: str | None = field(default=None, repr=False)
    https: str | None = field(default=None, repr=False)
    bypass: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostLimits:
    """The limits of one registry: the pulls that are left to others, and the requests at once; None where all count."""

    keep_quota: int | None = None
    requests: int | None = None


_NO_LIMITS = HostLimits()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """The repetitions of a failed request in a row, and the waits before them, which double from `first` to `longest`.

    A pause that a host asks for is at most `longest_pause`, and all pauses together `max_wait`. A host that gives no
    answer is left alone for the `outage_pauses`, one after the other, and then for the last of them again and again,
    all together for at most `max_wait`. Times are in seconds. `keep_quota` manifests that a registry still lets us get
    are left to others (None: its quota is used up, and waited for). `hosts` has other limits of some registries.
    """

    retries: int = 4
    first: float = 0.5
    longest: float = 30.0
    longest_pause: float = 900.0
    max_wait: float = 3600.0
    outage_pauses: tuple[float, ...] = (2.0, 5.0, 10.0, 20.0, 30.0)
    keep_quota: int | None = None
    hosts: Mapping[str, HostLimits] = field(default_factory=dict)

    def kept(self, host: str) -> int | None:
        """Return how many pulls of a registry's quota are left to others, None for no bound."""
        kept = self.hosts.get(host, _NO_LIMITS).keep_quota
        return self.keep_quota if kept is None else kept

    def most_requests(self, host: str, most: int) -> int:
        """Return how many requests a registry gets at once, `most` where it has no limit of its own."""
        return min(most, self.hosts.get(host, _NO_LIMITS).requests or most)


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """The settings of connections to registries.

    `credential_files` are read in their order (Docker's config.json and containers' auth.json alike); those that are
    also `default_credential_files` may be files of another user. `certificates` are directories in the form of Docker's
    certs.d; `username` and `password` belong to one registry, which the client is given. Times are in seconds; a
    transfer as a whole has no limit. `buffered=False` receives long bodies through aiohttp's own stream, which is
    slower. `limit_rate` bounds the bytes a second of all transfers together.
    """

    tls_verify: bool = True
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credential_files: tuple[Path, ...] = ()
    default_credential_files: frozenset[Path] = frozenset()
    certificates: tuple[Path, ...] = (Path("/etc/docker/certs.d"),)
    proxies: Proxies = Proxies()
    retry: RetryPolicy = RetryPolicy()
    connect_timeout: float = 30.0
    stall_timeout: float = 60.0
    #: The longest time for the head of a response after its first byte, and for the body of one that is no blob.
    answer_timeout: float = 120.0
    #: Bytes a second that all blobs of a host must come or go with, over `least_speed_span` of waiting for it.
    least_speed: int = 1024
    least_speed_span: float = 300.0
    #: The time that a registry may take to confirm an upload after its last byte.
    commit_timeout: float = 600.0
    credential_helper_timeout: float = 30.0
    buffered: bool = True
    limit_rate: int | None = None
    mirrors: Mirrors = NO_MIRRORS

    def verifies(self, registry: str) -> bool:
        """Tell whether the TLS of a registry is verified, and plain HTTP is refused."""
        return self.tls_verify and registry not in self.mirrors.insecure
