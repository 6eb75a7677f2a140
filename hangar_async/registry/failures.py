"""Failures of the wire, told in this project's own exceptions."""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Protocol

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError

from hangar_async.errors import HangarError, Incomplete, NetworkError, NotFound, RegistryError, Unauthorized

_LONGEST_TEXT = 300
_UNTRUSTED_ADVICE = (
    "put the registry's CA certificate into /etc/docker/certs.d/HOST[:PORT]/ca.crt (certs.d, as for Docker) or name "
    "it in SSL_CERT_FILE; --tls-verify=false turns the check off"
)


class _Entry(msgspec.Struct):
    code: str | int | None = ""
    message: str | None = ""


class _Errors(msgspec.Struct):
    errors: list[_Entry] | None = None
    details: str | None = None  # what token servers say
    message: str | None = None


@contextmanager
def reaching(host: str, what: str = "") -> Iterator[None]:
    """Turn what aiohttp, ssl and the system raise inside of the block into NetworkErrors about `host`.

    `what` says what was being had of it, for the message.
    """
    try:
        yield
    except HangarError:
        raise
    except (aiohttp.ClientError, HttpProcessingError, OSError, ValueError) as error:
        # TimeoutError, ssl.SSLError and all socket errors are OSErrors; yarl and the parser raise ValueErrors.
        why, transient, advice = _explain(error)
        subject = f"{what} from {host}" if what else host
        # Those that show the URL, which may be signed, are not shown on.
        cause = None if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL) else error
        raise NetworkError(f"{subject}: {why}", host=host, transient=transient, advice=advice) from cause


def is_untrusted(error: BaseException | None) -> bool:
    """Whether this failure is a certificate that did not pass verification."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            return True
        error = error.__cause__
    return False


def _explain(error: Exception) -> tuple[str, bool, str | None]:
    """Say why, whether trying again can help, and what to do (None: the usual)."""
    if is_untrusted(error):
        inner = getattr(error, "certificate_error", error)
        reason = getattr(inner, "verify_message", "") or "it is not trusted"
        return f"its TLS certificate cannot be verified: {reason}", False, _UNTRUSTED_ADVICE
    if isinstance(error, aiohttp.ClientHttpProxyError):
        transient = error.status in RegistryError.TRANSIENT
        return f"the proxy answered {error.status} ({_plain(error.message)})", transient, "see the proxy settings"
    if isinstance(error, aiohttp.ClientProxyConnectionError):
        return f"the proxy cannot be reached ({_system(error.os_error)})", True, "see the proxy settings"
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"its address cannot be found ({_system(error.os_error)})", True, None
    if isinstance(error, aiohttp.SocketTimeoutError):
        return "nothing arrived for too long", True, None
    if isinstance(error, TimeoutError):
        return "the connection could not be made in time", True, None
    if isinstance(error, aiohttp.ClientSSLError | ssl.SSLError):
        return f"TLS failed ({_system(getattr(error, 'os_error', error))})", True, None
    if isinstance(error, aiohttp.ClientConnectorError):
        return f"the connection failed ({_system(error.os_error)})", True, None
    if isinstance(error, aiohttp.InvalidURL):
        return "an address makes no sense", False, None
    if isinstance(error, aiohttp.ClientResponseError):
        return f"the answer is not HTTP ({_plain(error.message)})", True, None
    if isinstance(error, HttpProcessingError | ValueError):
        return f"the answer is not what HTTP allows ({type(error).__name__})", True, None
    return "the connection broke", True, None


def _system(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and (reason := getattr(error, "reason", None)):
        return _plain(str(reason).replace("_", " ").lower())
    if not isinstance(error, OSError):
        return type(error).__name__
    # asyncio puts the address into strerror; errors of the resolver have numbers of their own, below zero.
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return _plain(text or str(error) or type(error).__name__).lower()


class Refuse(Protocol):
    """Makes the error for an answer, as `refused` does."""

    def __call__(
        self,
        host: str,
        what: str,
        status: int,
        headers: Mapping[str, str],
        body: bytes,
        *,
        source: str = "",
        redirected: bool = False,
    ) -> RegistryError:
        """Make the error."""
        ...


def refused(
    host: str,
    what: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    source: str = "",
    redirected: bool = False,
) -> RegistryError:
    """Make the error for an answer of `status` to the wish for `what`.

    `source` is where the credentials that were sent came from, "" for none; `redirected` is for an answer not of the
    registry but of the place that it sent us to.
    """
    code, said = registry_says(body, headers.get("Content-Type", ""))
    because = f": {said}" if said else ""
    wait = retry_after(headers.get("Retry-After", ""))
    if status == 404:
        return NotFound(f"{what} not found at {host}", host=host, status=status, code=code, said=said)
    if status in (401, 403) and not redirected:
        return denied(host, what, status, source=source, said=said, code=code)
    message, advice = f"{host} answered {status} for {what}{because}", None
    if status == 429:
        message = f"{host} limits the rate of requests ({what}){because}"
        advice = "run the same command again later, with fewer --jobs, or log in for a higher limit"
    return RegistryError(
        message, host=host, status=status, code=code, retry_after=wait, advice=advice, redirected=redirected, said=said
    )


def denied(
    host: str, what: str, status: int = 401, *, source: str = "", said: str = "", code: str = ""
) -> Unauthorized:
    """Make the error for a wish that the registry does not grant us."""
    because = f": {said}" if said else ""
    if source:
        message = f"{host} denies access to {what} with the credentials from {source}{because}"
        advice = "check or renew these credentials, and what they allow"
    else:
        message = f"{host} denies access to {what}, and no credentials for it are known{because}"
        advice = f"{Unauthorized.default_advice}; a wrong name may look like this too"
    return Unauthorized(message, host=host, status=status, code=code, advice=advice, said=said)


def registry_says(body: bytes, content_type: str = "") -> tuple[str, str]:
    """Read a registry's own error list: the first code, and all of it as one line; empty for anything else.

    Source: OCI distribution-spec, "Error Codes".
    """
    if "html" in content_type.lower():
        return "", ""
    try:
        answer = msgspec.json.decode(body, type=_Errors)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    entries = [(str(entry.code or ""), entry.message or "") for entry in answer.errors or ()]
    if not entries:
        return "", _plain(answer.details or answer.message or "")
    text = "; ".join(f"{code}: {message}" if code and message else code or message for code, message in entries)
    return _plain(entries[0][0])[:60], _plain(text)


def retry_after(text: str, now: float | None = None) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from now on; None for what is neither."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return float(text)
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    present = datetime.fromtimestamp(time.time() if now is None else now, UTC)
    return max(0.0, (when - present).total_seconds())


def _plain(text: str) -> str:
    """One printable line of bounded length: what a server says may hold anything."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 2 * _LONGEST_TEXT]).split())
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."


_REPLACED = (
    "does not let {what} replace what is there",
    "its tags are immutable: remove the tag there, or push under another one",
)
_INCOMPLETE = ("lacks something that {what} names", "push it again: what a manifest names has to be there first")
#: It is said beside other things.
_LACKS = "MANIFEST_BLOB_UNKNOWN"
#: By the registry's own code, else by the status: what it says, and what to do.
_BY_CODE = {
    "BLOB_UNKNOWN": _INCOMPLETE,
    _LACKS: _INCOMPLETE,
    "MANIFEST_INVALID": (
        "does not take {what}",
        "see its log: it may not know this kind of manifest, or want all that an index names",
    ),
    "NAME_INVALID": ("does not take the name for {what}", "push under another name; some registries want PROJECT/NAME"),
    "TAG_INVALID": ("does not take the tag for {what}", "push under another tag; this one may be immutable there"),
}
_BY_STATUS = {
    404: (
        "has no repository for {what}",
        "check the name; where repositories or projects are not made by a push, make it there first",
    ),
    405: (
        "takes no pushes, so not {what} either",
        "push to a registry that can be written: this one only hands on what others have, or is being maintained",
    ),
    409: _REPLACED,
    412: _REPLACED,
    413: (
        "finds {what} too large",
        "raise the limit of the registry, or of the proxy before it (in nginx client_max_body_size)",
    ),
    415: ("does not take the media type of {what}", "push to a registry that knows it, or update this one"),
    507: ("has no room for {what}", "make room there, or raise the quota"),
}
_MAY_PUSH = "check or renew these credentials, and that they may push to this repository"
_LOG_IN = "log in with hangar-async login, or set DEST_USERNAME and DEST_PASSWORD"


def push_refused(
    host: str,
    what: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    source: str = "",
    redirected: bool = False,
) -> RegistryError:
    """Make the error for an answer of `status` to pushing `what`; see `failures.refused`."""
    error = refused(host, what, status, headers, body, source=source, redirected=redirected)
    if isinstance(error, Unauthorized):
        error.advice = _MAY_PUSH if source else _LOG_IN
        return error
    if error.transient:
        return error
    code = _LACKS if f"{_LACKS}:" in error.said else error.code
    meaning = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if meaning is None:
        return error
    message, advice = meaning
    text = f"{host} {message.format(what=what)}{f': {error.said}' if error.said else ''}"
    usual = NotFound if status == 404 else RegistryError
    kind = Incomplete if meaning is _INCOMPLETE else usual
    return kind(text, host=host, status=status, code=code, advice=advice, redirected=redirected, said=error.said)
