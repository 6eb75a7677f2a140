"""Failures of the network and of registries, as this project's own exceptions."""

import os
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Literal

import aiohttp
import msgspec
from aiohttp.http import HttpProcessingError

from hangar_async.errors import HangarError, Incomplete, NetworkError, NotFound, RegistryError, Unauthorized
from hangar_async.system import is_file_limit, system_advice, system_reason

_LONGEST_TEXT = 300
_UNTRUSTED_ADVICE = (
    "put the registry's CA certificate into /etc/docker/certs.d/HOST[:PORT]/ca.crt (certs.d, as for Docker) or name "
    "it in SSL_CERT_FILE; --tls-verify=false turns the check off"
)
#: Results of the verification that a wrong clock causes too. Source: OpenSSL, X509_V_ERR_CERT_NOT_YET_VALID and others.
_TIMES = {9: "is not valid yet", 10: "has expired"}
_CLOCK = (
    "set the clock of this machine if it is wrong; if it is right, the registry needs a new certificate, whose dates "
    "are shown by: openssl s_client -connect HOST:PORT </dev/null | openssl x509 -noout -dates"
)
#: The end of an error of aiohttp's parser, which quotes a header: that may be a signed address.
_QUOTED = re.compile(r"[:\s]+(bytearray\()?b?['\"].*", re.DOTALL)
_PROXY_ADVICE = "see the proxy settings"
#: Failures that can be temporary, the first that fits: the exceptions, the reason, the advice (None: the usual).
_REASONS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str, str | None], ...] = (
    (aiohttp.ClientProxyConnectionError, "the proxy cannot be reached ({system})", _PROXY_ADVICE),
    (aiohttp.ClientConnectorDNSError, "its address cannot be found ({system})", None),
    (aiohttp.SocketTimeoutError, "nothing arrived for too long", None),
    (TimeoutError, "the connection could not be made in time", None),
    ((aiohttp.ClientSSLError, ssl.SSLError), "TLS failed ({system})", None),
    (aiohttp.ClientConnectorError, "the connection failed ({system})", None),
    (aiohttp.ClientResponseError, "the answer is not HTTP ({message})", None),
    ((HttpProcessingError, ValueError), "the answer is not what HTTP allows ({kind})", None),
    (Exception, "the connection broke", None),
)
_REPLACED = (
    "does not let {subject} replace an older one",
    "its tags are immutable: remove the tag there, or push under another one",
)
_INCOMPLETE = ("lacks something that {subject} names", "push it again: all that a manifest names must be there first")
#: The statuses of what is not there, or not any more.
NOT_THERE = (404, 410)
#: The code for a manifest whose content is missing; it may stand beside others.
LACKS = "MANIFEST_BLOB_UNKNOWN"
#: Refused pushes, by the registry's own code, else by the status: the message, and the advice.
_BY_CODE = {
    "BLOB_UNKNOWN": _INCOMPLETE,
    LACKS: _INCOMPLETE,
    "MANIFEST_UNKNOWN": _INCOMPLETE,
    "MANIFEST_INVALID": (
        "does not take {subject}",
        "see its log: it may not know this kind of manifest, or want all manifests of an index",
    ),
    "NAME_INVALID": (
        "does not take the name for {subject}",
        "push under another name; some registries want PROJECT/NAME",
    ),
    "TAG_INVALID": ("does not take the tag for {subject}", "push under another tag; this one may be immutable there"),
}
_BY_STATUS = {
    404: (
        "has no repository for {subject}",
        "check the name; where repositories or projects are not made by a push, make it there first",
    ),
    405: (
        "takes no pushes, so not {subject} either",
        "push to a registry that can be written: this one may be a proxy of others, or under maintenance",
    ),
    409: _REPLACED,
    412: _REPLACED,
    413: (
        "finds {subject} too large",
        "raise the limit of the registry, or of the proxy before it (in nginx client_max_body_size)",
    ),
    415: ("does not take the media type of {subject}", "push to a registry that knows it, or update this one"),
    507: ("has no room for {subject}", "make room there, or raise the quota"),
}
_MAY_PUSH = "check or renew these credentials, and that they may push to this repository"
#: Words of a registry about the rights of a login; any other reason for a 403 is a rule of its own, such as a quota.
_OF_RIGHTS = re.compile(
    r"access|permi|scope|token|credential|authori[sz]|authenti|log[- ]?in|forbidden|DENIED\W*\w*\W*$", re.I
)
_ASK_ADMIN = "its own words say why; no other login changes that: ask its administrator"
_LOG_IN = "log in with hangar-async login, or set DEST_USERNAME and DEST_PASSWORD"


class _ErrorJson(msgspec.Struct):
    code: str | int | None = ""
    message: str | None = ""


class _ErrorsJson(msgspec.Struct):
    errors: list[_ErrorJson] | None = None
    details: str | None = None  # token servers use this
    message: str | None = None


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Reaching:
    """Turns errors of aiohttp, ssl and the system inside of its block into NetworkErrors about `host`.

    `subject` names the content of the request in the message. `answered` is False until there is a response. Each
    request enters some: a generator as context manager would take twice as long.
    """

    __slots__ = ("_answered", "_host", "_subject")

    def __init__(self, host: str, subject: str = "", *, answered: bool = True) -> None:
        self._host = host
        self._subject = subject
        self._answered = answered

    def __enter__(self) -> None:
        """Begin the block."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Raise the NetworkError for an error that is of these kinds."""
        if error is None or isinstance(error, HangarError):
            return
        # TimeoutError, ssl.SSLError and all socket errors are OSErrors; yarl and the parser raise ValueErrors.
        if isinstance(error, aiohttp.ClientError | HttpProcessingError | OSError | ValueError):
            raise self._failure(error) from self._cause(error)

    def _failure(self, error: Exception) -> NetworkError:
        reason, transient, advice = _explain(error)
        missing: Literal["", "connection", "answer"] = "" if self._answered else "answer"
        return NetworkError(
            f"{f'{self._subject} from {self._host}' if self._subject else self._host}: {reason}",
            host=self._host,
            transient=transient,
            advice=advice,
            missing="connection" if _is_unconnected(error) else missing,
        )

    def _cause(self, error: Exception) -> Exception | None:
        # Errors with the URL, which may be signed, are not shown.
        return None if isinstance(error, aiohttp.ClientResponseError | aiohttp.InvalidURL) else error


def is_untrusted(error: BaseException | None) -> bool:
    """Tell whether this failure is a certificate that did not pass verification."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            return True
        error = error.__cause__
    return False


def is_of_another_time(error: BaseException | None) -> bool:
    """Tell whether this failure is a certificate that is not valid yet, or not any more."""
    return getattr(getattr(error, "certificate_error", error), "verify_code", 0) in _TIMES


def _is_unconnected(error: Exception) -> bool:
    """Tell whether no connection to the host was made, through a proxy either."""
    if isinstance(error, TimeoutError):
        return not isinstance(error, aiohttp.SocketTimeoutError)
    return isinstance(error, aiohttp.ClientConnectorError | aiohttp.ClientHttpProxyError)


def _explain(error: Exception) -> tuple[str, bool, str | None]:
    """Return the reason, whether trying again can help, and the advice (None: the usual)."""
    if is_untrusted(error):
        inner = getattr(error, "certificate_error", error)
        if times := _TIMES.get(getattr(inner, "verify_code", 0)):
            now = datetime.now(UTC)
            return f"its TLS certificate {times}, by the clock of this machine: {now:%Y-%m-%d %H:%M} UTC", False, _CLOCK
        reason = getattr(inner, "verify_message", "") or "it is not trusted"
        return f"its TLS certificate cannot be verified: {reason}", False, _UNTRUSTED_ADVICE
    if isinstance(error, aiohttp.ClientHttpProxyError):
        transient = error.status in RegistryError.TRANSIENT
        return f"the proxy answered {error.status} ({_plain(error.message)})", transient, _PROXY_ADVICE
    if isinstance(error, aiohttp.InvalidURL):
        return "an address makes no sense", False, None
    of_system = getattr(error, "os_error", error)
    if is_file_limit(of_system):
        return f"no connection can be opened: {system_reason(of_system)}", True, system_advice(of_system)
    text, advice = next((text, advice) for kind, text, advice in _REASONS if isinstance(error, kind))
    system, message = _system(of_system), _plain(_QUOTED.sub("", str(getattr(error, "message", ""))))
    return text.format(system=system, message=message, kind=type(error).__name__), True, advice


def _system(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and (reason := getattr(error, "reason", None)):
        return _plain(str(reason).replace("_", " ").lower())
    if not isinstance(error, OSError):
        return _words(type(error))
    # asyncio puts the address into strerror; errors of the resolver have numbers of their own, below zero.
    text = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return _plain(text or str(error)).lower() or _words(type(error))


def _words(kind: type[BaseException]) -> str:
    """Write the name of an exception as words: `connection reset`."""
    return re.sub("(?<=[a-z])(?=[A-Z])", " ", kind.__name__).removesuffix(" Error").lower()


def refused(
    host: str,
    subject: str,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    source: str = "",
    redirected: bool = False,
    push: bool = False,
) -> RegistryError:
    """Make the error for a response of `status` to a request for `subject`, or to a `push` of it.

    `source` is the place that the credentials came from, "" for none. `redirected` marks a response of a server that
    the registry redirected to.
    """
    code, said = read_error_list(body, headers.get("Content-Type", ""))
    if status == 403 and said and not redirected and not _OF_RIGHTS.search(said):
        text = f"{host} refuses {subject}: {said}"
        return RegistryError(text, host=host, status=status, code=code, advice=_ASK_ADMIN, said=said)
    if status in (401, 403) and not redirected:
        return denied(host, subject, status, source=source, said=said, code=code, push=push)
    because, advice = f": {said}" if said else "", None
    wait = retry_after(headers.get("Retry-After", ""), http_date(headers.get("Date", "")))
    meaning = None
    if push and status not in RegistryError.TRANSIENT and not (redirected and status in (400, 401, 403)):
        code = LACKS if f"{LACKS}:" in said else code
        meaning = _BY_CODE.get(code) or _BY_STATUS.get(status)
    if meaning is not None:
        text, advice = f"{host} {meaning[0].format(subject=subject)}{because}", meaning[1]
    elif status in NOT_THERE:
        text = f"{subject} not found at {host}"
    elif status == 429:
        text = f"{host} limits the rate of requests ({subject}){because}"
        advice = "run the same command again later, with fewer --jobs, or log in for a higher limit"
    else:
        text = f"{host} answered {status} for {subject}{because}"
    kind = Incomplete if meaning is _INCOMPLETE else NotFound if status in NOT_THERE else RegistryError
    return kind(
        text, host=host, status=status, code=code, retry_after=wait, advice=advice, redirected=redirected, said=said
    )


def denied(
    host: str, subject: str, status: int = 401, *, source: str = "", said: str = "", code: str = "", push: bool = False
) -> Unauthorized:
    """Make the error for a request, or a `push`, without the rights for it."""
    because = f": {said}" if said else ""
    if source:
        message = f"{host} denies access to {subject} with the credentials from {source}{because}"
        advice = _MAY_PUSH if push else "check or renew these credentials, and what they allow"
    else:
        message = f"{host} denies access to {subject}, and no credentials for it are known{because}"
        advice = _LOG_IN if push else f"{Unauthorized.default_advice}; a wrong name may look like this too"
    return Unauthorized(message, host=host, status=status, code=code, advice=advice, said=said)


def read_error_list(body: bytes, content_type: str = "") -> tuple[str, str]:
    """Read a registry's own error list: the first code, and all of it as one line; empty for anything else.

    Source: OCI distribution-spec, "Error Codes".
    """
    if "html" in content_type.lower():
        return "", ""
    try:
        document = msgspec.json.decode(body, type=_ErrorsJson)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", ""
    entries = [(str(entry.code or ""), entry.message or "") for entry in document.errors or ()]
    if not entries:
        return "", _plain(document.details or document.message or "")
    text = "; ".join(f"{code}: {message}" if code and message else code or message for code, message in entries)
    return _plain(entries[0][0])[:60], _plain(text)


def retry_after(text: str, now: float | None) -> float | None:
    """Read a Retry-After header, seconds or a date, as seconds from now on; None for neither.

    `now` is the time of the server in seconds since 1970, of its Date header: the clock of this machine may be wrong.
    """
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 12:
        return float(text)
    date = http_date(text)
    return None if date is None or now is None else max(0.0, date - now)


def http_date(text: str) -> float | None:
    """Read a date of a header as seconds since 1970; None for anything else."""
    try:
        date = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError):
        return None
    return ((date if date.tzinfo else date.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


def _plain(text: str) -> str:
    """Make one printable line of bounded length of a text from a server."""
    line = " ".join("".join(char if char.isprintable() else " " for char in text[: 2 * _LONGEST_TEXT]).split())
    return line if len(line) <= _LONGEST_TEXT else line[:_LONGEST_TEXT] + "..."
