"""Redirects: where an answer may send us, and what must not happen on the way."""

from __future__ import annotations

from yarl import URL

from hangar_async.errors import RegistryError
from hangar_async.registry.http.addresses import is_internal, web_address

MOVED = frozenset({301, 302, 303, 307, 308})
#: Those after which a request is made again as it was; after the others its method may become GET.
_KEEPING = frozenset({307, 308})
_READING = frozenset({"GET", "HEAD"})
MAX_REDIRECTS = 10


class Redirects:
    """The way from a first URL through all that follows; refuses with RegistryErrors that no new try can help.

    `host` is the registry that was asked, for the message. No URL is ever part of one: it may be signed. A request that
    does not only read is never made another one (RFC 9110, 15.4).
    """

    def __init__(self, first: URL, host: str, method: str = "GET") -> None:
        self.method = method
        self._host = host
        self._seen = [first]

    @property
    def count(self) -> int:
        """How many redirects were followed."""
        return len(self._seen) - 1

    def follow(self, status: int, location: str) -> URL:
        """Return the URL that an answer with this status and Location sends us to."""
        here = self._seen[-1]
        target = web_address(location, here)
        keeps = status in _KEEPING or self.method in _READING
        why = self._wrong(here, target) if keeps else f"answered a {self.method} with a redirect that may change it"
        if why:
            raise RegistryError(f"{self._host} {why}", host=self._host, status=status)
        assert target is not None  # noqa: S101 - _wrong has seen to it
        self._seen.append(target)
        return target

    def _wrong(self, here: URL, target: URL | None) -> str:
        if why := unsafe(self._seen[0], here, target):
            return f"redirects to {why}, which is not followed"
        if target in self._seen:
            return "redirects in a circle"
        if len(self._seen) > MAX_REDIRECTS:
            return f"redirects more than {MAX_REDIRECTS} times"
        return ""


def unsafe(start: URL, here: URL, target: URL | None) -> str:
    """Say what makes an address one that is not asked, when `here` names it and `start` was asked first; "" if nothing.

    `target` None stands for what is no address.
    """
    if target is None or target.scheme not in ("http", "https"):
        return "no web address"
    if target.user is not None or target.password is not None:
        return "an address with a user name in it"
    if here.scheme == "https" and target.scheme == "http":
        return f"an address that leads from https to http ({target.host})"
    if leads_inside(start, target):
        return f"an address of this machine or its link ({target.host})"
    return ""


def upload_address(registry: URL, here: URL, location: str, host: str, status: int) -> URL:
    """Return where an upload goes on, as the answer of `here` names it; raises RegistryError as for a redirect.

    `registry` is where `host` was asked first. It has no circles: it may be the address itself.
    """
    target = web_address(location, here)
    if target and registry.scheme == "https" and target.scheme == "http" and target.host == registry.host:
        # A registry behind a proxy that ends TLS may not know of that. Nothing goes there but by TLS.
        target = target.with_scheme("https").with_port(registry.port) if target.port in (80, registry.port) else target
    if why := unsafe(registry, here, target):
        raise RegistryError(
            f"{host} wants the upload to go on at {why}, which is not followed", host=host, status=status
        )
    assert target is not None  # noqa: S101 - unsafe has seen to it
    return target


def leads_inside(start: URL, target: URL) -> bool:
    """Whether someone elsewhere names a host of this machine or its link for us to ask."""
    return is_internal(target.host or "") and not is_internal(start.host or "")


def same_origin(one: URL, other: URL) -> bool:
    """Whether two URLs have scheme, host and port in common; only then may the second see what is for the first."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
