"""Proxies: which one a request takes, and the login there."""

import base64
import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import quote, unquote

from yarl import URL

from hangar_async.config.registries import Proxies
from hangar_async.errors import NetworkError
from hangar_async.registry.http.addresses import address_of, is_loopback, web_address

#: Characters that a user name or password in an address cannot have as they are; a `%` only before two digits.
_TO_ESCAPE = re.compile(r"[\\#/?\[\]\s]|%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Proxy:
    """The address of a proxy, and the value of the Proxy-Authorization that it gets; None for none."""

    url: URL
    authorization: str | None = field(default=None, repr=False)


def proxy_for(url: URL, proxies: Proxies) -> Proxy | None:
    """Choose the proxy for a request to `url`; raises NetworkError for one whose address cannot be used."""
    text = proxies.https if url.scheme == "https" else proxies.http
    host = url.host or ""
    if not text or is_loopback(host) or bypasses(host, url.port, proxies.bypass):
        return None
    scheme, _, rest = text.partition("://") if "://" in text else ("", "", text)
    login, _, place = rest.rpartition("@")
    address = web_address(f"{scheme or 'http'}://{place}")
    if problem := _problem(scheme, login, address):
        raise NetworkError(
            f"{problem[0]} for {host}{problem[1]}",
            host=host,
            transient=False,
            advice=f"set {url.scheme.upper()}_PROXY to http://[USER:PASSWORD@]HOST:PORT, or add the host to NO_PROXY",
        )
    return Proxy(address, basic(*_decoded(login)) if login else None)


def _problem(scheme: str, login: str, address: URL) -> tuple[str, str] | None:
    """Describe the reason why an address of a proxy cannot be used, before and after the host that it is for."""
    unreadable = "cannot read the proxy address"
    if scheme not in ("", "http", "https"):
        return f"cannot use a proxy of the kind {scheme[:20]!r}", ""
    if wrong := _TO_ESCAPE.search(login):
        shown = f"'{wrong[0]}'" if wrong[0].isprintable() else repr(wrong[0])
        return unreadable, f": write {quote(wrong[0], safe='')} in place of {shown} in its user name or password"
    if any(_CONTROL.search(part) for part in _decoded(login)):
        return unreadable, ": its user name or password has a line end, or another control character"
    return None if address else (unreadable, "")


def _decoded(login: str) -> list[str]:
    # Bytes that are no UTF-8 stay as they are.
    username, _, password = login.partition(":")
    return [unquote(part.encode(errors="surrogateescape"), errors="surrogateescape") for part in (username, password)]


def basic(username: str, password: str) -> str:
    """Return the value of a Basic Authorization header, in UTF-8.

    Source: RFC 7617.
    """
    return "Basic " + base64.b64encode(f"{username}:{password}".encode(errors="surrogateescape")).decode()


def bypasses(host: str, port: int | None, entries: Iterable[str]) -> bool:
    """Tell whether NO_PROXY has a host; wrong entries match nothing."""
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
    """Split `NAME[:PORT]`; an IPv6 address has a port only after brackets."""
    if entry.startswith("["):
        name, _, rest = entry[1:].partition("]")
        port = rest.removeprefix(":")
    elif entry.count(":") == 1:
        name, _, port = entry.partition(":")
    else:
        name, port = entry, ""
    return name, int(port) if port.isascii() and port.isdigit() else None
