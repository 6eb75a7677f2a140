"""Hosts by where they are: this machine, its link, or elsewhere."""

from __future__ import annotations

import ipaddress
import socket
from typing import TypeAlias

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address


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
    """Whether a host, without port, is this machine by its very name or address."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    address = address_of(name)
    return address is not None and address.is_loopback


def is_internal(host: str) -> bool:
    """Whether a host is one that nothing from elsewhere may send us to: loopback, link-local or unspecified."""
    address = address_of(host.rstrip("."))
    return is_loopback(host) or (address is not None and (address.is_link_local or address.is_unspecified))


def _short_address(host: str) -> _Address | None:
    # inet_aton takes what getaddrinfo takes: one to four numbers, octal and hexadecimal ones too.
    try:
        return ipaddress.IPv4Address(socket.inet_aton(host)) if host.isascii() and host else None
    except (OSError, ValueError):
        return None
