"""Headers of servers: challenges, ranges, times to wait, addresses to go to."""

from __future__ import annotations

import math
from contextlib import suppress

from yarl import URL

from hangar_async.config.registries import Proxies
from hangar_async.errors import NetworkError, RegistryError, Unauthorized
from hangar_async.registry.auth.tokens import TokenRequest, checked_realm, parse_challenges
from hangar_async.registry.blobs import foreign_url, is_rest
from hangar_async.registry.failures import retry_after as read_retry_after
from hangar_async.registry.http.addresses import Redirects, is_internal
from hangar_async.registry.http.proxies import bypasses, proxy_for
from hangar_async.registry.http.response import read_digest
from hangar_async.registry.manifests import Quota
from hangar_async.registry.upload_session import received_bytes
from hangar_async.server.responses import byte_range
from tests.refusal import attempt

_NOW = 1_700_000_000.0
_SIZES = (0, 1, 10, 1 << 40)
_REGISTRY = URL("https://registry.example/v2/app/blobs/x")


def challenge(data: bytes) -> None:
    """Read a WWW-Authenticate header, split at each line break into several of them."""
    text = _text(data)
    found = parse_challenges(text.split("\n"))
    for one in found:
        assert one.scheme == one.scheme.lower() != ""
        assert all(name == name.lower() != "" for name in one.parameters)
        assert isinstance(one.realm + one.service, str)
    assert sum(len(one.scheme) + sum(map(len, one.parameters.values())) for one in found) <= len(text)


def byte_ranges(data: bytes) -> None:
    """Read a Range, and a Content-Range: none reaches outside of what it is about."""
    text = _text(data)
    for size in _SIZES:
        for start in (0, 1, size - 1, size):
            if is_rest(text, start, size):
                assert start < size
                assert str(start) in text
                assert str(size - 1) in text
        with suppress(ValueError):
            found = byte_range(text, size)
            assert found is None or 0 <= found[0] < found[1] <= size


def retry_after(data: bytes) -> None:
    """Read a Retry-After: a wait that can be waited for."""
    wait = read_retry_after(_text(data), _NOW)
    assert wait is None or (wait >= 0 and math.isfinite(wait))


def numbers(data: bytes) -> None:
    """Read the numbers of other headers: a quota, the bytes of an upload, a digest."""
    text = _text(data)
    quota = Quota.parse({"ratelimit-limit": text, "ratelimit-remaining": text})
    assert quota is None or 0 <= min(quota.limit, quota.remaining, quota.window) <= 10**12
    received = received_bytes(text)
    assert received is None or 1 < received <= 10**19
    digest = read_digest(text)
    assert digest is None or str(digest) in text


def address(data: bytes) -> None:
    """Read an address as a Location, a realm, a foreign layer's, a proxy, and as NO_PROXY."""
    text = _text(data)
    reached = [
        attempt(lambda: Redirects(_REGISTRY, "registry.example").follow(307, text), RegistryError),
        attempt(lambda: checked_realm(_wish(text)), Unauthorized),
        attempt(lambda: foreign_url(text, internal=False), NetworkError),
    ]
    for url in reached:
        if url is not None:
            _check_elsewhere(url)
    if realm := reached[1]:
        assert realm.scheme == "https"
        assert realm.update_query({"scope": "repository:a/b:pull"}).query["scope"] == "repository:a/b:pull"
    proxy = attempt(lambda: proxy_for(_REGISTRY, Proxies(https=text, bypass=tuple(text.split(",")))), NetworkError)
    assert proxy is None or (proxy.url.scheme in ("http", "https") and proxy.url.host)
    assert isinstance(bypasses(text, 443, ["10.0.0.0/8", "example.com"]), bool)


def _check_elsewhere(url: URL) -> None:
    """See that an address is of the web, names nobody, and is not of this machine, however it is spelled."""
    assert url.scheme in ("http", "https")
    assert url.user is None
    assert url.password is None
    assert url.host
    assert url.port
    assert url.host_port_subcomponent
    assert not is_internal(url.host)
    assert not is_internal(url.raw_host or "")
    assert str(url).isascii()


def _wish(realm: str) -> TokenRequest:
    return TokenRequest("registry.example", _REGISTRY, realm, "service", ("repository:a/b:pull",), None)


def _text(data: bytes) -> str:
    # As aiohttp hands headers on.
    return data.decode("utf-8", "surrogateescape")
