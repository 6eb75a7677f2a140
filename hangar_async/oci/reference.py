"""References: the names of images."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, replace

from hangar_async.errors import InvalidValue
from hangar_async.oci.digest import Digest

DOCKER_HUB = "docker.io"
_HUB_ALIASES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"})
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
# RFC 1123, 2.1.
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_REGISTRY = re.compile(
    rf"(?:(?P<name>{_LABEL}(?:\.{_LABEL})*)|\[(?P<address>[0-9a-fA-F:]+)\])(?::(?P<port>[0-9]{{1,9}}))?"
)
_MAX_HOST = 253
_TAG = re.compile(r"\w[\w.-]{0,127}", re.ASCII)
_MAX_TAG = 128
_MAX_REPOSITORY = 255
#: The characters of a wrong text that a message shows.
_LONGEST = 140


def parse_registry(text: str) -> str:
    """Return the normalised HOST[:PORT] of a registry; raises InvalidValue.

    All names of Docker Hub become `docker.io`.
    """
    match = _REGISTRY.fullmatch(text)
    if not match or not _is_host(match) or (match["port"] and not 0 < int(match["port"]) < 65536):
        raise InvalidValue(
            f"{text[:_LONGEST]!r} is not a registry: write HOST or HOST:PORT, such as registry.example.com:5000"
        )
    if not _names_registry(text):
        raise InvalidValue(f"{text!r} is taken for a part of a name, not for a registry: write {text}:443, its port")
    return DOCKER_HUB if text.lower() in _HUB_ALIASES else text


def _is_host(match: re.Match[str]) -> bool:
    try:
        if match["address"] is not None:
            ipaddress.IPv6Address(match["address"])
        elif "xn--" in (name := match["name"].lower()):
            name.encode().decode("idna")
    except ValueError:
        return False
    return match["name"] is None or len(match["name"]) <= _MAX_HOST


def _names_registry(first: str) -> bool:
    # Docker's rule: the first component is a registry when it has a dot or a port, or is "localhost".
    return "." in first or ":" in first or first == "localhost"


@dataclass(frozen=True, slots=True)
class Reference:
    """A full image name: registry, repository, and a tag or a digest or both.

    Normalised as Docker does: Docker Hub where no registry is named, `library/` before its one-component names,
    `latest` where neither tag nor digest is given. `parse` reads the `str()` of one as the same.
    Source: the grammar of distribution/reference; OCI distribution-spec, "Pulling manifests".
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "registry", parse_registry(self.registry))
        _check_repository(self.repository)
        if self.registry == DOCKER_HUB and "/" not in self.repository:
            object.__setattr__(self, "repository", f"library/{self.repository}")
            _check_repository(self.repository)
        if self.tag is None and self.digest is None:
            object.__setattr__(self, "tag", "latest")
        if self.tag is not None and not _TAG.fullmatch(self.tag):
            raise InvalidValue(
                f"{self.tag[:140]!r} is not a tag: write up to 128 letters, digits, '_', '.' and '-', "
                "not starting with '.' or '-'"
            )

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Read `[REGISTRY/]REPOSITORY[:TAG][@DIGEST]`; raises InvalidValue with the right form."""
        name, at, digest = text.partition("@")
        if "://" in name:
            start = name.partition("://")[0][:_LONGEST] + "://"
            raise InvalidValue(f"{text[:_LONGEST]!r} has a scheme: leave out {start if start.isprintable() else '...'}")
        head, slash, last = name.rpartition("/")
        last, colon, tag = last.partition(":")
        name = head + slash + last
        if not name or (at and not digest) or (colon and not tag):
            raise InvalidValue(f"{text[:_LONGEST]!r} is not an image: write [REGISTRY/]NAME[:TAG][@DIGEST]")
        registry, repository = split_registry(name)
        return cls(registry, repository, tag if colon else None, Digest.parse(digest) if at else None)

    def on(self, registry: str) -> Reference:
        """Return the same image on another registry (HOST[:PORT])."""
        return replace(self, registry=registry)

    @property
    def name(self) -> str:
        """`REGISTRY/REPOSITORY`."""
        return f"{self.registry}/{self.repository}"

    @property
    def tag_or_digest(self) -> str:
        """The digest, else the tag: the last part of the path of a request."""
        return str(self.digest) if self.digest else str(self.tag)

    @property
    def cache_tag(self) -> str:
        """The tag that names it in a cache: its own, or `sha256-<hex>` for an image that has only a digest.

        A longer digest is cut to the length of a tag.
        """
        return self.tag if self.tag is not None else f"{self.digest}".replace(":", "-")[:_MAX_TAG]

    @property
    def cache_name(self) -> str:
        """`REGISTRY/REPOSITORY:CACHE_TAG`; two images of one name cannot both be in a cache."""
        return f"{self.name}:{self.cache_tag}"

    @property
    def layout_name(self) -> str:
        """Its `org.opencontainers.image.ref.name` in an OCI layout: `NAME:TAG`, or `NAME@DIGEST` without a tag."""
        return f"{self.name}:{self.tag}" if self.tag is not None else f"{self.name}@{self.digest}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag is not None else ""
        return self.name + tag + (f"@{self.digest}" if self.digest else "")


def split_registry(name: str) -> tuple[str, str]:
    """Split a name at its registry, `docker.io` where it has none; neither part is checked."""
    first, slash, rest = name.partition("/")
    if slash and _names_registry(first):
        return first, rest
    return DOCKER_HUB, name


def is_repository(text: str) -> bool:
    """Tell whether a text is a name of a repository, which a Reference takes."""
    return len(text) <= _MAX_REPOSITORY and _REPOSITORY.fullmatch(text) is not None


def _check_repository(repository: str) -> None:
    if len(repository) > _MAX_REPOSITORY:
        raise InvalidValue(f"{repository[:60]!r}... is longer than {_MAX_REPOSITORY} characters")
    if _REPOSITORY.fullmatch(repository):
        return
    if _REPOSITORY.fullmatch(repository.lower()):
        raise InvalidValue(
            f"{repository!r} has upper-case letters: repository names are lower case ({repository.lower()!r})"
        )
    raise InvalidValue(
        f"{repository[:140]!r} is not a repository name: "
        "write lower-case letters and digits, separated by '.', '_', '-' or '/'"
    )
