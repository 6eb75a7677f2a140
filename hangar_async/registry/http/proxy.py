"""Proxies: the one, if any, that a URL is asked through.

The rules are those of Go's net/http, so that the answer is the same as Docker's: loopback hosts are never proxied;
an entry of NO_PROXY is `*`, an IP address, a CIDR block, or a domain that stands for itself and its subdomains
(`.example.com` and `*.example.com`: for the subdomains only), each with or without a port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from yarl import URL

from hangar_async.config.registries import Proxies
from hangar_async.errors import NetworkError
from hangar_async.registry.http.addresses import address_of, is_loopback, web_address


def proxy_for(url: URL, proxies: Proxies) -> URL | None:
    """Choose the proxy for a request to `url`; raises NetworkError for one of a kind that cannot be used."""
    text = proxies.https if url.scheme == "https" else proxies.http
    host = url.host or ""
    if not text or is_loopback(host) or bypasses(host, url.port, proxies.bypass):
        return None
    proxy = web_address(text if "://" in text else f"http://{text}")
    if not proxy:
        kind = text.partition("://")[0] if "://" in text else "this"
        raise NetworkError(
            f"cannot use a proxy of the kind {kind[:20]!r} for {host}",
            host=host,
            transient=False,
            advice=f"set {url.scheme.upper()}_PROXY to http://HOST:PORT, or add the host to NO_PROXY",
        )
    return proxy


def bypasses(host: str, port: int | None, entries: Iterable[str]) -> bool:
    """Return whether NO_PROXY says that a host is asked directly; entries that make no sense match nothing."""
    return any(_matches(host.lower().rstrip("."), port, entry.strip().lower()) for entry in entries)


def _matches(host: str, port: int | None, entry: str) -> bool:
    if entry == "*":
        return True
    address = address_of(host)
    if "/" in entry:
        try:
            return address is not None and address in ipaddress.ip_network(entry, strict=False)
        except ValueError:
            return False
    name, entry_port = _split_port(entry)
    if not name or entry_port not in (None, port):
        return False
    if address is not None:
        return address == address_of(name)
    name = name.removeprefix("*").rstrip(".")
    return host.endswith(name) if name.startswith(".") else host == name or host.endswith(f".{name}")


def _split_port(entry: str) -> tuple[str, int | None]:
    """Split `NAME[:PORT]`; an IPv6 address has a port only when it stands in brackets."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        name, port = entry, ""
    return name, int(port) if port.isascii() and port.isdigit() else None
