"""How registries are reached."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from hangar_async.config.mirrors import NO_MIRRORS, Mirrors

#: Requests at once, at most.
MAX_JOBS = 20


@dataclass(frozen=True, slots=True)
class Proxies:
    """Proxy URLs by the scheme of the request, and the hosts that are asked directly (`NO_PROXY`, split)."""

    http: str | None = None
    https: str | None = None
    bypass: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often what can recover is tried again in a row, and the waits before: they double from `first` to `longest`.

    A host that asks for a pause gets one of at most `longest_pause`, and of `max_wait` in sum. All in seconds.
    """

    retries: int = 4
    first: float = 0.5
    longest: float = 30.0
    longest_pause: float = 900.0
    max_wait: float = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrySettings:
    """How registries are reached.

    `credential_files` are read in their order (Docker's config.json and containers' auth.json alike); `certificates`
    are directories laid out as Docker's certs.d; `username` and `password` belong to one registry, which the
    transfer names. Times are in seconds; there is no limit on the whole of a transfer. `buffered=False` has long bodies
    received by aiohttp's own stream: slower, for a system on which taking them over makes trouble.
    `limit_rate` caps the bytes a second of all transfers together.
    """

    tls_verify: bool = True
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    credential_files: tuple[Path, ...] = ()
    certificates: tuple[Path, ...] = (Path("/etc/docker/certs.d"),)
    proxies: Proxies = Proxies()
    retry: RetryPolicy = RetryPolicy()
    connect_timeout: float = 30.0
    stall_timeout: float = 60.0
    #: How long a registry may take, after it has got all of an upload, until it says so.
    commit_timeout: float = 600.0
    credential_helper_timeout: float = 30.0
    buffered: bool = True
    limit_rate: int | None = None
    mirrors: Mirrors = NO_MIRRORS

    def verifies(self, registry: str) -> bool:
        """Whether the TLS of a registry is verified, and plain HTTP is out of the question."""
        return self.tls_verify and registry not in self.mirrors.insecure
