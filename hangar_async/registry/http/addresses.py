"""Addresses from other servers: which of them are safe, and redirects."""

import ipaddress
import re
import socket
from collections.abc import Container, Iterator
from functools import lru_cache
from typing import TypeAlias

from yarl import URL

from hangar_async.errors import RegistryError
from hangar_async.oci import DOCKER_HUB

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
#: The longest name of a host (RFC 1123, 2.1).
_LONGEST_HOST = 253
#: The name of a host, or its address in IPv4; some names have underscores. No resolver finds another text, such as one
#: with an escape, and a proxy may read an address out of it that is not seen here.
_HOST = re.compile(r"(?:[A-Za-z0-9_-]{1,63}\.)*[A-Za-z0-9_-]{1,63}\.?")
#: So many hosts are judged once for all requests to them.
_KNOWN_HOSTS = 256


def shown_address(url: URL) -> str:
    """Write an address for a log: without its user, and of its query, where signatures are, the names alone."""
    address = str(url.with_user(None).with_query(None).with_fragment(None))
    return f"{address}?{'&'.join(f'{name}=...' for name in url.query)}" if url.query else address


def web_address(text: str, base: URL | None = None) -> URL:
    """Read an address from another server, which may be relative to `base`; an empty URL where it is none of the web.

    Signed addresses must stay as they are, character for character, so nothing is quoted again.
    """
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        return URL()
    try:
        url = URL(text, encoded=True)
        url = (url if base is None else base.join(url)).with_fragment(None)
        # yarl checks host and port only when they are read.
        named = url.port and url.host_port_subcomponent and _is_host(url)
    except (ValueError, IndexError):  # yarl raises an IndexError for brackets before an empty host
        return URL()
    return url if named and url.scheme in ("http", "https") else URL()


def _is_host(url: URL) -> bool:
    host, raw = url.host or "", url.raw_host or ""
    if ":" in raw:
        return address_of(host) is not None
    return len(host) <= _LONGEST_HOST and _HOST.fullmatch(raw) is not None


def unsafe(url: URL, *, tls: bool, internal: bool, named: Container[str] = ()) -> str:
    """Describe the problem of an address from another server; "" where it is safe.

    `tls` is for an address given over TLS, which must keep it. Internal addresses, see `is_internal`, are for a server
    that is `internal` itself, and for places that are `named`.
    """
    if not url:
        return "no web address"
    if url.user is not None or url.password is not None:
        return f"an address with a user name in it ({url.host})"
    if tls and url.scheme == "http":
        return f"an address that leads from https to http ({url.host})"
    if not internal and is_internal(url.host or "") and place_of(url) not in named:
        return f"an address on this machine or its link ({url.host})"
    return ""


def place_of(url: URL) -> str:
    """Return HOST:PORT of a URL."""
    return f"{url.host}:{url.port}"


def host_of(registry: str) -> str:
    """Return the HOST[:PORT] at which a registry is asked."""
    return "registry-1.docker.io" if registry == DOCKER_HUB else registry


def places_of(registry: str) -> tuple[str, str]:
    """Return HOST:PORT of a registry, HOST[:PORT], by HTTPS and by HTTP."""
    host = host_of(registry)
    return place_of(URL(f"https://{host}")), place_of(URL(f"http://{host}"))


def same_origin(first: URL, second: URL) -> bool:
    """Tell whether two URLs have scheme, host and port in common; only then may they share a secret."""
    return (first.scheme, first.host, first.port) == (second.scheme, second.host, second.port)


def address_of(host: str) -> _Address | None:
    """Read an IP address as the resolver would, `127.1` and `[::ffff:7f00:1]` too; None for a name."""
    try:
        address: _Address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return _short_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


@lru_cache(_KNOWN_HOSTS)
def is_loopback(host: str) -> bool:
    """Tell whether a host, without port, is this machine by its name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = address_of(name)
    return address is not None and address.is_loopback


#: Addresses that no other server may send us to, beside those that `ipaddress` knows: this network and broadcast (RFC
#: 1122, 3.2.1.3), and the services of clouds for their machines, which may give away the rights of a machine.
_INTERNAL = [
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "255.255.255.255/32"),
        *("100.100.100.200/32", "168.63.129.16/32", "192.0.0.192/32"),  # Alibaba, Azure, Oracle
        *("fd00:ec2::/32", "fd20:ce::254/128", "fd00:42::42/128"),  # AWS, Google, Scaleway
    )
]
#: Networks of IPv6 whose last four bytes are an address of IPv4: compatible and translated ones (RFC 4291, 2765), NAT64
#: (RFC 6052, 8215).
_CARRYING = [ipaddress.IPv6Network(text) for text in ("::/96", "::ffff:0:0:0/96", "64:ff9b::/96", "64:ff9b:1::/48")]
#: The third quarter of an ISATAP address (RFC 5214, 6.1), with and without the bit of a global one.
_ISATAP = (0x00005EFE, 0x02005EFE)


@lru_cache(_KNOWN_HOSTS)
def is_internal(host: str) -> bool:
    """Tell whether a host is an address that no other server may send us to, or a name of this machine.

    Loopback, link-local, unspecified, multicast, broadcast and cloud metadata, also inside an address of IPv6. Private
    addresses are none of these: the storage of companies has them.
    """
    address = address_of(host.rstrip("."))
    return is_loopback(host) or (address is not None and any(map(_is_internal, (address, *_carried(address)))))


def _is_internal(address: _Address) -> bool:
    if address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast:
        return True
    return any(address.version == network.version and address in network for network in _INTERNAL)


def _carried(address: _Address) -> Iterator[ipaddress.IPv4Address]:
    """Find the addresses of IPv4 that an address of IPv6 leads to."""
    if isinstance(address, ipaddress.IPv6Address):
        last = ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF)
        if (int(address) >> 32) & 0xFFFF_FFFF in _ISATAP or any(address in network for network in _CARRYING):
            yield last
        yield from filter(None, (address.sixtofour, *(address.teredo or ())))


def _short_address(host: str) -> _Address | None:
    # inet_aton reads the same forms as getaddrinfo: one to four numbers, octal and hexadecimal ones too.
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host.isascii() and host else None
    except (OSError, ValueError):
        return None


MOVED = frozenset({301, 302, 303, 307, 308})
#: After these a request keeps its method; after the others the method may become GET.
_KEEPING = frozenset({307, 308})
_READING = frozenset({"GET", "HEAD"})
MAX_REDIRECTS = 10


class Redirects:
    """The redirects of a request; raises RegistryErrors that are not transient.

    `host` is the registry of the request, for the message; places that are `named` may be internal. A message never has
    a URL, which may be signed. A request that writes is never changed into another one (RFC 9110, 15.4).
    """

    def __init__(self, first: URL, host: str, method: str = "GET", named: Container[str] = ()) -> None:
        self.method = method
        self._host = host
        self._named = named
        self._seen = [first]

    @property
    def count(self) -> int:
        """The number of redirects that were followed."""
        return len(self._seen) - 1

    def follow(self, status: int, location: str, *, internal: bool = False) -> URL:
        """Return the URL of the redirect with this status and Location, from an `internal` server; see `unsafe`."""
        target = web_address(location, self._seen[-1])
        if problem := self._refusal(status, target, internal):
            raise RegistryError(f"{self._host} {problem}", host=self._host, status=status)
        self._seen.append(target)
        return target

    def _refusal(self, status: int, target: URL, internal: bool) -> str:
        if status not in _KEEPING and self.method not in _READING:
            return f"answered a {self.method} with a redirect that may change it"
        tls = self._seen[-1].scheme == "https"
        if problem := unsafe(target, tls=tls, internal=internal, named=self._named):
            return f"redirects to {problem}, which is not followed"
        if target in self._seen:
            return "redirects in a circle"
        if len(self._seen) > MAX_REDIRECTS:
            return f"redirects more than {MAX_REDIRECTS} times"
        return ""


def upload_address(
    registry: URL, current: URL, location: str, host: str, status: int, *, internal: bool, named: Container[str] = ()
) -> URL:
    """Return the next address of an upload, as the response of `current` names it; raises RegistryError.

    `registry` is the first address of `host`; see `unsafe` for the rest. Unlike in redirects, the next address may be
    the current one.
    """
    target = web_address(location, current)
    if target.scheme == "http" and registry.scheme == "https" and target.host == registry.host:
        # A registry may not know of the TLS of a proxy before it. All requests to it use TLS.
        target = target.with_scheme("https").with_port(registry.port) if target.port in (80, registry.port) else target
    if problem := unsafe(target, tls=current.scheme == "https", internal=internal, named=named):
        raise RegistryError(
            f"{host} wants the upload to go on at {problem}, which is not followed", host=host, status=status
        )
    return target
