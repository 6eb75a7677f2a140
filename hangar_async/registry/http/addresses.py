"""Addresses that others give us: which of them are asked, and hosts by where they are."""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

from yarl import URL

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
#: No name that can be looked up is longer (RFC 1123, 2.1).
_LONGEST_HOST = 253


def web_address(text: str, base: URL | None = None) -> URL:
    """Read an address that someone else gives, which may be relative to `base`; an empty URL for none of the web.

    Signed addresses must stay as they are, character for character, so nothing is quoted again.
    """
    if not text or not text.isascii() or not text.isprintable() or " " in text:
        return URL()
    try:
        url = URL(text, encoded=True)
        url = (url if base is None else base.join(url)).with_fragment(None)
        # A host or a port that cannot be shows only when it is asked for.
        named = url.port and url.host_port_subcomponent and len(url.host or "") <= _LONGEST_HOST
    except (ValueError, IndexError):  # yarl raises an IndexError for brackets before an empty host
        return URL()
    return url if named and url.scheme in ("http", "https") else URL()


def unsafe(url: URL, *, tls: bool, internal: bool) -> str:
    """Say what makes an address that others give us one that is not asked; "" where nothing does.

    `tls` is for an address given over TLS, which must keep it; `internal` allows addresses on this machine or its link.
    """
    if not url:
        return "no web address"
    if url.user is not None or url.password is not None:
        return f"an address with a user name in it ({url.host})"
    if tls and url.scheme == "http":
        return f"an address that leads from https to http ({url.host})"
    if not internal and is_internal(url.host or ""):
        return f"an address on this machine or its link ({url.host})"
    return ""


def same_origin(one: URL, other: URL) -> bool:
    """Return whether two URLs have scheme, host and port in common; only then may they share a secret."""
    return (one.scheme, one.host, one.port) == (other.scheme, other.host, other.port)


def address_of(host: str) -> _Address | None:
    """Read an IP address as the resolver would, `127.1` and `[::ffff:7f00:1]` too; None for a name."""
    try:
        address: _Address = ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return _short_address(host)
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped:
        return address.ipv4_mapped
    return address


def is_loopback(host: str) -> bool:
    """Return whether a host, without port, is this machine by its very name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = address_of(name)
    return address is not None and address.is_loopback


def is_internal(host: str) -> bool:
    """Return whether a host is one that nothing from elsewhere may send us to: loopback, link-local or unspecified."""
    address = address_of(host.rstrip("."))
    return is_loopback(host) or (address is not None and (address.is_link_local or address.is_unspecified))


def _short_address(host: str) -> _Address | None:
    # inet_aton takes what getaddrinfo takes: one to four numbers, octal and hexadecimal ones too.
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host.isascii() and host else None
    except (OSError, ValueError):
        return None
