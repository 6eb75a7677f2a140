"""Redirects: the addresses that responses send us to, and what must not happen on the way."""

from __future__ import annotations

from yarl import URL

from hangar_async.errors import RegistryError
from hangar_async.registry.http.addresses import is_internal, unsafe, web_address

MOVED = frozenset({301, 302, 303, 307, 308})
#: After these a request is repeated as it was; after the others its method may become GET.
_KEEPING = frozenset({307, 308})
_READING = frozenset({"GET", "HEAD"})
MAX_REDIRECTS = 10


class Redirects:
    """The way from a first URL through all redirects; refuses with RegistryErrors that no new try can help.

    `host` is the registry that was asked, for the message. No URL is ever part of one: it may be signed. A request that
    does not only read is never made another one (RFC 9110, 15.4).
    """

    def __init__(self, first: URL, host: str, method: str = "GET") -> None:
        self.method = method
        self._host = host
        self._seen = [first]

    @property
    def count(self) -> int:
        """The number of redirects that were followed."""
        return len(self._seen) - 1

    def follow(self, status: int, location: str) -> URL:
        """Return the URL that a response with this status and Location sends us to; raises RegistryError."""
        target = web_address(location, self._seen[-1])
        if why := self._refusal(status, target):
            raise RegistryError(f"{self._host} {why}", host=self._host, status=status)
        self._seen.append(target)
        return target

    def _refusal(self, status: int, target: URL) -> str:
        first, last = self._seen[0], self._seen[-1]
        if status not in _KEEPING and self.method not in _READING:
            return f"answered a {self.method} with a redirect that may change it"
        if why := unsafe(target, tls=last.scheme == "https", internal=is_internal(first.host or "")):
            return f"redirects to {why}, which is not followed"
        if target in self._seen:
            return "redirects in a circle"
        if len(self._seen) > MAX_REDIRECTS:
            return f"redirects more than {MAX_REDIRECTS} times"
        return ""


def upload_address(registry: URL, current: URL, location: str, host: str, status: int) -> URL:
    """Return the next address of an upload, as the response of `current` names it; raises RegistryError.

    `registry` is the first address of `host`. Other than in redirects, the next address may be the current one.
    """
    target = web_address(location, current)
    if target.scheme == "http" and registry.scheme == "https" and target.host == registry.host:
        # A registry with a proxy before it that ends TLS may not know of that. Nothing goes there but by TLS.
        target = target.with_scheme("https").with_port(registry.port) if target.port in (80, registry.port) else target
    if why := unsafe(target, tls=current.scheme == "https", internal=is_internal(registry.host or "")):
        raise RegistryError(
            f"{host} wants the upload to go on at {why}, which is not followed", host=host, status=status
        )
    return target
