"""Redirects: where an answer may send us, and what must not happen on the way."""

from __future__ import annotations

from yarl import URL

from hangar_async.errors import RegistryError
from hangar_async.registry.addresses import is_internal, web_address

MOVED = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10


class Redirects:
    """The way from a first URL through all that follows; refuses with RegistryErrors that no new try can help.

    `host` is the registry that was asked, for the message. No URL is ever part of one: it may be signed.
    """

    def __init__(self, first: URL, host: str) -> None:
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
        if why := self._wrong(here, target):
            raise RegistryError(f"{self._host} {why}", host=self._host, status=status)
        assert target is not None  # noqa: S101 - _wrong has seen to it
        self._seen.append(target)
        return target

    def _wrong(self, here: URL, target: URL | None) -> str:
        if target is None:
            return "answered with a redirect to no web address"
        if target.user is not None or target.password is not None:
            return "redirects to an address with a user name in it, which is not followed"
        if here.scheme == "https" and target.scheme == "http":
            return f"redirects from https to http ({target.host}), which is not followed"
        if leads_inside(self._seen[0], target):
            return f"redirects to an address of this machine or its link ({target.host}), which is not followed"
        if target in self._seen:
            return "redirects in a circle"
        if len(self._seen) > MAX_REDIRECTS:
            return f"redirects more than {MAX_REDIRECTS} times"
        return ""


def leads_inside(start: URL, target: URL) -> bool:
    """Whether someone elsewhere names a host of this machine or its link for us to ask."""
    return is_internal(target.host or "") and not is_internal(start.host or "")


def same_origin(one: URL, other: URL) -> bool:
    """Whether two URLs have scheme, host and port in common; only then may the second see what is for the first."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)
